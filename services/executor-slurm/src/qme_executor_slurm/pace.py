"""When to ask Slurm again. Pure: no clock, no chance of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Limits:
    """The poller's intervals, in seconds; the defaults are what login nodes put up with."""

    first: float = 10.0
    growth: float = 1.5
    longest: float = 60.0
    #: never more often
    floor: float = 5.0
    #: after commands that failed, each time twice as long
    longest_after_failures: float = 600.0
    #: share by which a wait is made longer or shorter, so that workers don't ask in step
    jitter: float = 0.1

    def within(self, min_job_age: float) -> Limits:
        """Fit them to a cluster: one that forgets ended jobs soon has to be asked sooner."""
        return replace(self, longest=max(self.floor, min(self.longest, min_job_age / 2)))


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the poller goes now. Start anew, with ``Pace()``, after a submission."""

    #: cycles in a row that changed nothing
    quiet: int = 0
    #: cycles in a row that failed
    failures: int = 0

    def after(self, *, changed: bool) -> Pace:
        """Go on from a cycle that Slurm answered."""
        return Pace(quiet=0 if changed else self.quiet + 1)

    def failed(self) -> Pace:
        """Go on from a cycle that it did not answer: no news, and no reason to ask more often."""
        return replace(self, failures=self.failures + 1)

    def wait(self, limits: Limits, chance: float) -> float:
        """Give the seconds until the next cycle; `chance` is a random number from 0 to 1."""
        steps = min(self.quiet, 64)
        seconds = max(limits.floor, min(limits.first * limits.growth**steps, limits.longest))
        if self.failures:
            seconds = min(seconds * 2.0 ** min(self.failures, 64), limits.longest_after_failures)
        return max(limits.floor, seconds * (1 + limits.jitter * (2 * chance - 1)))

"""What this worker has to do with Slurm, in numbers: ``qme_slurm_*`` on the worker's page. Counting only.

Every series exists from the start, at 0; labels come from fixed sets.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from qme_executor_slurm.answers import Accepted, Failed, Verdict

_COMMANDS = ("squeue", "sacct", "scontrol", "scancel")
_SECONDS = (0.03, 0.1, 0.3, 1, 3, 10, 30, 60)


class SlurmMetrics:
    """The metrics of one worker; on no page until registered."""

    def __init__(self) -> None:
        results = ("accepted", *(verdict.value for verdict in Verdict))
        self._sbatch = Counter(
            "qme_slurm_sbatch", "Calls of sbatch, by what came of them", ["result"], registry=None
        )
        self._commands = Counter(
            "qme_slurm_commands",
            "Other commands of Slurm's that were run",
            ["command", "result"],
            registry=None,
        )
        self._durations = Histogram(
            "qme_slurm_command_duration_seconds",
            "Time they took",
            ["command"],
            buckets=_SECONDS,
            registry=None,
        )
        self._answered = Gauge(
            "qme_slurm_last_success_timestamp_seconds", "When they last succeeded", ["command"], registry=None
        )
        self._polls = Counter(
            "qme_slurm_polls", "Looks at all jobs, by whether Slurm answered", ["result"], registry=None
        )
        self.recovered = Counter(
            "qme_slurm_submit_recovered",
            "Jobs found by their marker after an sbatch without an answer",
            registry=None,
        )
        self.unknown_states = Counter(
            "qme_slurm_unknown_states", "Job states met that this version does not know", registry=None
        )
        self.followed = Gauge("qme_slurm_jobs_followed", "Jobs that are followed now", registry=None)
        for result in results:
            self._sbatch.labels(result)
        for command in _COMMANDS:
            self._durations.labels(command)
            self._answered.labels(command)
            for result in ("ok", "error", "timeout"):
                self._commands.labels(command, result)
        for result in ("ok", "failed"):
            self._polls.labels(result)

    def register(self, registry: CollectorRegistry) -> None:
        """Show them on a page."""
        for metric in vars(self).values():
            registry.register(metric)

    def sbatch(self, answer: Accepted | Failed) -> None:
        """Count an sbatch that was called."""
        self._sbatch.labels("accepted" if isinstance(answer, Accepted) else answer.verdict.value).inc()

    def command(self, name: str, result: str, seconds: float) -> None:
        """Count a command that was run: ok, error or timeout."""
        if name in _COMMANDS:
            self._commands.labels(name, result).inc()
            self._durations.labels(name).observe(seconds)
            if result == "ok":
                self._answered.labels(name).set_to_current_time()

    def poll(self, *, answered: bool) -> None:
        """Count a look at all jobs."""
        self._polls.labels("ok" if answered else "failed").inc()

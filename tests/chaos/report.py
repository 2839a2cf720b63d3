"""What a chaos run prints, and the same for docs/guarantees.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.verdict import Verdict

if TYPE_CHECKING:
    from tests.chaos.run import Chaos

PAGE = Path(__file__).parents[2] / "docs/guarantees.md"
#: lines about single tasks that are printed; the file has all
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Report:
    """One run."""

    chaos: Chaos
    took: float  #: seconds
    verdict: Verdict
    faults: Counter[str]
    problems: list[str]  #: clients that hung, services that fell, refusals nobody can explain

    @property
    def broken(self) -> list[str]:
        """A line on each thing that is not as it should be."""
        return [line for tasks in self.verdict.broken.values() for line in tasks] + self.problems

    @property
    def holds(self) -> bool:
        """Nothing was broken, and as much was tried as was asked for."""
        return not self.broken and self.verdict.accepted >= self.chaos.tasks

    def rows(self) -> Iterator[tuple[str, str]]:
        """Give the table."""
        chaos, verdict = self.chaos, self.verdict
        yield "asked for", f"{chaos.tasks} tasks over {chaos.seconds:.0f} s, seed {chaos.seed}"
        yield "services", f"{chaos.nodes} NATS, {chaos.submitters} submitters, {chaos.workers} workers"
        yield "took", f"{self.took:.0f} s"
        yield "accepted (ids printed)", str(verdict.accepted)
        yield "tasks whose id nobody was told", str(verdict.unprinted)
        yield "commands started", str(verdict.attempts)
        yield "ended", ", ".join(f"{name} {n}" for name, n in sorted(verdict.outcomes.items()))
        yield "faults", ", ".join(f"{name} {n}" for name, n in sorted(self.faults.items()))
        for name, tasks in verdict.broken.items():
            yield name, str(len(tasks))
        yield "other problems", str(len(self.problems))

    def text(self, *, details: bool = False) -> str:
        """Give the table as it is printed, and lines about what is wrong."""
        rows = list(self.rows())
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:{width}}  {value}" for name, value in rows]
        wrong = self.broken
        word = "BROKEN" if wrong else "ok" if self.holds else "INCOMPLETE: too few were accepted in time"
        shown = wrong if details else wrong[:SHOWN]
        more = [f"… {len(wrong) - len(shown)} more"] if len(wrong) > len(shown) else []
        return "\n".join([*lines, *shown, *more, word]) + "\n"

    def markdown(self) -> str:
        """Give the table as the page shows it."""
        rows = "".join(f"| {name} | {value} |\n" for name, value in self.rows())
        return f"| | |\n|---|---|\n{rows}"


def write(report: Report) -> None:
    """Put the table in its place in docs/guarantees.md."""
    begin, end = f"<!-- chaos {report.chaos.nodes} -->\n", "<!-- end of chaos -->\n"
    head, _, rest = PAGE.read_text().partition(begin)
    _, _, tail = rest.partition(end)
    PAGE.write_text(f"{head}{begin}{report.markdown()}{end}{tail}")

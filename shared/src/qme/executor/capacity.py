"""What a host has for tasks that ask: cpus that the worker may use, memory, GPUs by name. Gives nothing out."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from qme.contracts.resources import Capacity

#: what a task and its programs read to find their GPUs
VISIBLE = "CUDA_VISIBLE_DEVICES"

_GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Supply:
    """What one worker may give to its tasks, all together."""

    cpus: int
    mem: int  #: bytes
    gpus: tuple[str, ...] = ()  #: names, as CUDA_VISIBLE_DEVICES lists them

    @property
    def capacity(self) -> Capacity:
        """The same, counted."""
        return Capacity(cpus=self.cpus, mem=self.mem, gpus=len(self.gpus))


def of_host(*, cpus: int | None = None, mem: int | None = None, gpus: str | None = None) -> Supply:
    """Take what is given, and for the rest what there is here.

    `gpus`: names with commas, ``none``, or ``auto``: those that the worker itself may see.
    """
    names = _visible() if gpus in (None, "auto") else _names(str(gpus))
    return Supply(cpus or _cpus(), mem or _memory(), names)


def _cpus() -> int:
    """Count those that this process may run on, as batch systems and containers limit them."""
    usable = len(os.sched_getaffinity(0))
    quota, _, period = _limit("cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        usable = min(usable, max(1, int(quota) // int(period)))
    return usable


def _memory() -> int:
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _limit("memory.max")
    return min(whole, int(limit)) if limit.isdigit() else whole


def _limit(name: str) -> str:
    """Read a limit of the control group (version 2) that we are in; empty where there is none."""
    try:
        own = re.search(r"^0::/(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
        return (_GROUPS / own[1] / name).read_text().strip() if own else ""
    except OSError:
        return ""


def _visible() -> tuple[str, ...]:
    said = os.environ.get(VISIBLE)
    if said is not None:
        return _names(said)
    try:
        found = [name[6:] for name in os.listdir("/dev") if re.fullmatch(r"nvidia[0-9]+", name)]  # noqa: PTH208
    except OSError:
        return ()
    return tuple(sorted(found, key=int))


def _names(text: str) -> tuple[str, ...]:
    """Read names; none twice, or two tasks would be given one device."""
    words = [word.strip() for word in text.split(",")]
    return tuple(dict.fromkeys(word for word in words if word and word not in ("none", "NoDevFiles", "-1")))

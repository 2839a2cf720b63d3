"""What a task asks for beside a slot, and what a worker has to give. Pure; who gets what is decided by workers."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from qme.contracts.bounds import Count, Size

_UNITS = (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10))


class Resources(BaseModel):
    """What one task asks for. What it says nothing about counts for nothing: it is promised none, and may use some."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    cpus: Count = 0
    mem: Size = 0
    gpus: Count = 0
    exclusive: bool = False  #: nothing else runs beside it on its worker

    def words(self) -> str:
        """Tell it in words, such as ``4 cpus, 2 GiB of memory``."""
        said = [*_counted(self), *(["a worker of its own"] if self.exclusive else [])]
        return ", ".join(said) or "nothing"


class Capacity(BaseModel):
    """What a worker has in all."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    cpus: Count = 0
    mem: Size = 0
    gpus: Count = 0

    def words(self) -> str:
        """Tell it in words."""
        return ", ".join(_counted(self)) or "nothing"


NOTHING = Resources()


def shortage(asked: Resources, has: Capacity) -> Resources | None:
    """Give that part of a wish that is more than a worker has in all; None where it fits into an empty worker."""
    short = {
        name: getattr(asked, name)
        for name in ("cpus", "mem", "gpus")
        if getattr(asked, name) > getattr(has, name)
    }
    return Resources(**short) if short else None


def unfit(asked: Resources | None, workers: Iterable[Capacity | None]) -> str | None:
    """Say why no worker of a pool can ever run a task; None where one can, or nobody is there to tell.

    A worker that does not say what it has takes everything (None).
    """
    if asked is None:
        return None
    found = list(workers)
    short = [None if has is None else shortage(asked, has) for has in found]
    if not found or None in short:
        return None
    have = sorted({has.words() for has in found if has is not None})
    return f"it asks for {asked.words()}, and no living worker has that; there is {' or '.join(have)}"


def size(amount: int) -> str:
    """Spell bytes for people."""
    for unit, bits in _UNITS:
        if amount >= 1 << bits:
            return f"{amount / (1 << bits):.1f}".removesuffix(".0") + f" {unit}"
    return f"{amount} bytes"


def _counted(what: Resources | Capacity) -> list[str]:
    said = [
        f"{count} {name if count != 1 else name[:-1]}"
        for name in ("cpus", "gpus")
        if (count := getattr(what, name))
    ]
    return [*said, *([f"{size(what.mem)} of memory"] if what.mem else [])]

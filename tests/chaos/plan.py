"""What a chaos run submits, worked out from its seed: jobs, and the clients that bring them. Pure: starts nothing."""

from __future__ import annotations

import random
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path
from signal import SIGKILL, SIGSTOP, Signals

COMMAND = Path(__file__).with_name("command.sh")
#: seconds that a command takes which nobody expects to end by itself: longer than any run
FOR_EVER = "7200"


class Kind(StrEnum):
    """What becomes of a job's task if nothing goes wrong with qme."""

    PLAIN = "plain"  #: ends by itself, with one of many exit codes
    KEYED = "keyed"  #: the same; submitted alone with --key, again and again until an id was printed
    RETRIED = "retried"  #: fails, and is tried again by --retries
    LIMITED = "limited"  #: runs into its --timeout
    CANCELLED = "cancelled"  #: never ends by itself; somebody cancels it
    RACED = "raced"  #: ends by itself at about the time that somebody cancels it
    RERUN = "rerun"  #: ends by itself, then somebody wants it once more


#: how often a client brings jobs of a kind, how many of them as a share of the most, and with which options
_MIX = {
    Kind.PLAIN: (12, 1.0, ()),
    Kind.KEYED: (8, 0.0, ()),
    Kind.RETRIED: (3, 0.4, ("--retries", "2", "--retry-delay", "0.5")),
    Kind.LIMITED: (2, 0.2, ("--timeout", "1")),
    Kind.CANCELLED: (2, 0.2, ()),
    Kind.RACED: (2, 0.2, ()),
    Kind.RERUN: (2, 0.3, ()),
}


@dataclass(frozen=True, slots=True)
class Job:
    """One command that is to be a task."""

    number: int
    kind: Kind
    lines: int  #: of output
    seconds: str  #: that it sleeps
    codes: tuple[int, ...]  #: exit code of each attempt; the last one holds for all that follow

    def words(self, notes: Path) -> tuple[str, ...]:
        """Give the command; it notes starts and ends in files in `notes`."""
        codes = map(str, self.codes)
        return ("sh", str(COMMAND), str(self.number), str(notes), str(self.lines), self.seconds, *codes)

    def line(self, notes: Path) -> str:
        """Give the command as a line of a list."""
        return shlex.join(self.words(notes))

    def code(self, attempt: int) -> int:
        """Tell the exit code of an attempt that ends by itself."""
        return self.codes[min(attempt, len(self.codes)) - 1]

    def stdout(self, attempt: int) -> str:
        """Tell what an attempt prints."""
        return "".join(f"{self.number}.{attempt} line {line}\n" for line in range(1, self.lines + 1))

    def stderr(self, attempt: int) -> str:
        """Tell what an attempt that ends by itself prints to its standard error."""
        return f"{self.number}.{attempt} ends with {self.code(attempt)}\n"


def number_in(command: str) -> int | None:
    """Read which job a record's command is; None: it is none of ours."""
    words = command.partition(f"{COMMAND} ")[2].split()
    return int(words[0]) if words else None


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to a client while it submits."""

    signal: Signals
    after: float | None  #: seconds from its start; None: at its first id
    length: float = 0.0  #: seconds until it goes on, where it was stopped


@dataclass(frozen=True, slots=True)
class Client:
    """A process that submits jobs."""

    kind: Kind
    jobs: tuple[Job, ...]
    options: tuple[str, ...]
    fate: Fate | None
    #: seconds until those who want the tasks changed say so
    patience: float


def clients(seed: int, largest: int) -> Iterator[Client]:
    """Give clients for ever; a plain one brings `largest` jobs."""
    dice = random.Random(seed)  # noqa: S311 -- it is to be repeated
    numbers = count(1)
    kinds = list(_MIX)
    weights = [_MIX[kind][0] for kind in kinds]
    while True:
        (kind,) = dice.choices(kinds, weights)
        _, share, options = _MIX[kind]
        size = max(1, round(largest * share))
        jobs = tuple(_job(dice, next(numbers), kind) for _ in range(size))
        yield Client(kind, jobs, options, _fate(dice, kind), dice.uniform(0.0, 4.0))


def _job(dice: random.Random, number: int, kind: Kind) -> Job:
    code = dice.choice((0, 0, 0, 0, 0, 0, 1, 42, 130, 255))
    codes: tuple[int, ...] = (code,)
    seconds = "0" if dice.random() < 0.7 else f"{dice.uniform(0.1, 2.0):.2f}"
    if kind is Kind.RETRIED:
        codes = dice.choice(((3, 0), (3, 4, 0), (3, 4, 5)))
    elif kind in (Kind.LIMITED, Kind.CANCELLED):
        codes, seconds = (0,), FOR_EVER
    elif kind is Kind.RACED:
        seconds = f"{dice.uniform(0.5, 4.0):.2f}"
    elif kind is Kind.RERUN:
        codes = (code, dice.choice((0, 9)))
    return Job(number, kind, dice.choice((0, 1, 3, 30, 300)), seconds, codes)


def _fate(dice: random.Random, kind: Kind) -> Fate | None:
    roll = dice.random()
    likely = 0.4 if kind is Kind.KEYED else 0.25
    if roll >= 1.5 * likely:
        return None
    after = dice.choice((None, dice.uniform(0.2, 2.0)))
    return Fate(SIGKILL, after) if roll < likely else Fate(SIGSTOP, after, dice.uniform(0.5, 8.0))

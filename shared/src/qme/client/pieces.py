"""Puts the chunks of a task's output in order: drops what came twice, notices what is missing. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from qme.contracts.subjects import LogAddress
from qme.contracts.tasks import HEADER_OFFSET


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes that a command wrote to one stream, at the place where they belong."""

    attempt: int
    stream: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes that the bus does not have.

    `cut`: more than `log_limit`, the rest lies with the worker; `gone`: older than the log stream keeps it.
    """

    attempt: int
    stream: str
    offset: int
    size: int
    why: Literal["cut", "gone"]


@dataclass(slots=True)
class Positions:
    """How far each stream of each attempt has been read."""

    _at: dict[tuple[int, str], int] = field(default_factory=dict)

    def at(self, attempt: int, stream: str) -> int:
        """Offset of the first byte that has not been read."""
        return self._at.get((attempt, stream), 0)

    def take(self, chunk: Chunk) -> Chunk | None:
        """Give the unread part of a chunk, None when there is nothing new in it. It must not lie behind a gap."""
        at = self.at(chunk.attempt, chunk.stream)
        end = chunk.offset + len(chunk.data)
        if end <= at:
            return None
        self._at[chunk.attempt, chunk.stream] = end
        return Chunk(chunk.attempt, chunk.stream, at, chunk.data[at - chunk.offset :])

    def missing(self, chunk: Chunk) -> bool:
        """Tell whether something between what was read and this chunk has not come."""
        return chunk.offset > self.at(chunk.attempt, chunk.stream)

    def skip(self, attempt: int, stream: str, to: int, why: Literal["cut", "gone"]) -> Gap | None:
        """Give up on the bytes before offset `to`; None when none are missing."""
        at = self.at(attempt, stream)
        if at >= to:
            return None
        self._at[attempt, stream] = to
        return Gap(attempt, stream, at, to - at, why)


def chunk_of(subject: str, headers: dict[str, str], data: bytes) -> Chunk:
    """Read a message of the log stream. Raises InvalidRequest for another subject."""
    address = LogAddress.parse(subject)
    offset = headers.get(HEADER_OFFSET, "0")
    return Chunk(address.attempt, address.stream, int(offset) if offset.isdigit() else 0, data)

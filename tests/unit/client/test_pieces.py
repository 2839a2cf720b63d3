"""Chunks of output put in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qme.client.pieces import Chunk, Gap, Positions, chunk_of
from qme.contracts.subjects import TaskKey, log_subject


def chunk(offset: int, data: bytes, stream: str = "stdout", attempt: int = 1) -> Chunk:
    """A chunk of one stream."""
    return Chunk(attempt, stream, offset, data)


def test_overlaps_are_dropped() -> None:
    """What was read live and comes once more from the stream is shown once."""
    positions = Positions()
    assert positions.take(chunk(0, b"abcd")) == chunk(0, b"abcd")
    assert positions.take(chunk(0, b"abcd")) is None
    assert positions.take(chunk(2, b"cdef")) == chunk(4, b"ef")
    assert positions.at(1, "stdout") == 6


def test_streams_and_attempts_are_apart() -> None:
    """Each has its own position."""
    positions = Positions()
    for other in (chunk(0, b"a"), chunk(0, b"b", "stderr"), chunk(0, b"c", attempt=2)):
        assert positions.take(other) == other


def test_a_hole_is_noticed_and_can_be_given_up() -> None:
    """Given up, it is a gap with its place and size; there is none where nothing is missing."""
    positions = Positions()
    late = chunk(10, b"x")
    assert positions.missing(late)
    assert positions.skip(1, "stdout", 10, "gone") == Gap(1, "stdout", 0, 10, "gone")
    assert not positions.missing(late)
    assert positions.skip(1, "stdout", 10, "gone") is None


def test_a_message_says_where_it_belongs() -> None:
    """Subject and header together; a chunk without offset is the first."""
    key = TaskKey("shell", "u-ann", "01990000-0000-7000-8000-000000000000")
    subject = log_subject(key, 3, "stderr")
    assert chunk_of(subject, {"Qme-Offset": "7"}, b"x") == Chunk(3, "stderr", 7, b"x")
    assert chunk_of(subject, {}, b"x").offset == 0


@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 200), st.integers(1, 50)), max_size=40))
def test_any_order_of_repeats_gives_the_original_bytes(data: bytes, cuts: list[tuple[int, int]]) -> None:
    """Whatever overlaps come, what is taken is the output from its beginning, each byte once."""
    positions, seen = Positions(), b""
    for start, size in [*cuts, (0, 200)]:
        piece = chunk(start, data[start : start + size])
        if positions.missing(piece):
            continue
        taken = positions.take(piece)
        seen += taken.data if taken else b""
    assert seen == data

"""How a record tells of a command's output. Names only; the output itself is in the log stream.

A record's `data` holds, per stream, an excerpt (a list of lines), how many bytes the command wrote in all, and how many
of those are on the bus (fewer where `log_limit` cut it). They are written with the record that ends the attempt, after
the bus has confirmed every chunk: so a reader who has that many bytes has everything there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

STDOUT = "stdout"
STDERR = "stderr"
STREAMS = (STDOUT, STDERR)


class Names(NamedTuple):
    """The keys in `data` that tell of one stream."""

    excerpt: str
    written: str  #: bytes that the command wrote
    logged: str  #: bytes of them on the bus
    truncated: str  #: the excerpt leaves something out
    replaced: str  #: true where the command emptied or rewrote its own output, of which some may be lost


NAMES = {
    STDOUT: Names("output", "output_bytes", "output_logged", "output_truncated", "output_replaced"),
    STDERR: Names("error", "error_bytes", "error_logged", "error_truncated", "error_replaced"),
}

#: key in `data`, true where the worker's disk was full meanwhile: what the command could not write is nowhere
INCOMPLETE = "output_incomplete"


def written(data: Mapping[str, Any], stream: str) -> int:
    """Bytes that the command wrote to a stream, as far as the record tells."""
    return _count(data.get(NAMES[stream].written)) or 0


def logged(data: Mapping[str, Any], stream: str) -> int:
    """Bytes of a stream that are on the bus, as far as the record tells."""
    count = _count(data.get(NAMES[stream].logged))
    return written(data, stream) if count is None else count


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None

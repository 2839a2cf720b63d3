"""How much of its disk the local stack may take: the settings' limits, or a share of what there is. Pure.

A small home must not be filled by output that nobody reads: with the limits of a site the disk would be full long
before the first of them is reached, and a full disk stops everything.
"""

from __future__ import annotations

from qme.settings import Settings

#: setting to the share of the room that it may have at most; four fifths together
_SHARES = {
    "logs_max_bytes": 1 / 4,
    "spool_limit": 1 / 4,
    "records_max_bytes": 1 / 8,
    "specs_max_bytes": 1 / 8,
    "events_max_bytes": 1 / 16,
    "tasks_max_bytes": 1 / 32,
}
#: with less, one request with files would not fit
_LEAST = 4 << 20


def bounded(settings: Settings, room: int) -> dict[str, int]:
    """Give the limits that are to hold on a disk with `room` bytes, free or taken by the stack itself."""
    return {
        key: min(getattr(settings, key), max(_LEAST, int(room * share))) for key, share in _SHARES.items()
    }

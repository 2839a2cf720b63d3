"""What a backup consists of: everything that there is, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from qme.bus import topology
from qme.bus.memory import MemoryServer
from qme.client.backup import LIST, ORDER, make, read
from qme.contracts import subjects
from qme.errors import InvalidRequest
from qme.settings import Settings


def test_no_stream_is_forgotten(tmp_path: Path) -> None:
    """A stream that is new in the topology has to be given its place."""
    assert sorted(ORDER) == sorted(spec.name for spec in topology.streams(Settings(home=tmp_path)))


def test_what_refers_is_taken_before_what_it_refers_to() -> None:
    """So that in a backup under load each record has its spec, and the trail knows of no record's future."""
    users, records, specs = map(
        subjects.bucket_stream, (subjects.BUCKET_USERS, subjects.BUCKET_TASKS, subjects.BUCKET_SPECS)
    )
    places = [ORDER.index(name) for name in (users, subjects.EVENTS, records, specs, subjects.LOGS)]
    assert places == sorted(places)


def test_a_list_that_names_a_file_elsewhere_is_refused(tmp_path: Path) -> None:
    """Whoever was given a backup by somebody else restores that folder, and nothing beside it."""
    part = '{"stream": "S", "file": "../x", "messages": 0, "bytes": 0, "sha256": "", "about": {}}'
    (tmp_path / LIST).write_text(f'{{"qme": "0", "made": "2026-01-01T00:00:00Z", "parts": [{part}]}}')
    with pytest.raises(InvalidRequest, match="names a file elsewhere"):
        read(tmp_path)


async def test_a_bus_that_has_no_snapshots(tmp_path: Path) -> None:
    """Said before a folder is made."""
    with pytest.raises(InvalidRequest, match="this bus can't be backed up"):
        await make(MemoryServer().connect("ann"), tmp_path / "b")
    assert not (tmp_path / "b").exists()

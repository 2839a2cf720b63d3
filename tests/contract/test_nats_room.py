"""A real NATS server without room: too small a limit, a small account, a full disk; what is said, and what then."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from secrets import token_bytes

import pytest
from tests.contract.conftest import open_nats, until

from qme.bus import topology
from qme.bus.jetstream import JetStreamBus
from qme.bus.topology import StreamSpec
from qme.errors import BusUnavailable, LimitReached, QmeError, SettingsError
from qme.settings import Settings
from qme.testing.nats import NatsServer

pytestmark = pytest.mark.nats

LOG = StreamSpec("LOG", ("log.>",), discard="old", max_bytes=1 << 30)
REC = StreamSpec("REC", ("rec.>",), max_per_subject=1, max_bytes=1 << 30)


@pytest.mark.parametrize("limits", [{"store": "max_file_store: 1GB"}, {"account": "{ max_file: 1GB }"}])
async def test_limits_that_promise_more_than_there_is(tmp_path: Path, limits: dict[str, str]) -> None:
    """The stream that does not fit is named with its size, and what to change; the others are there."""
    with NatsServer(tmp_path / "nats", **limits) as server:  # type: ignore[arg-type]
        bus = await open_nats(server, "ann")
        with pytest.raises(
            LimitReached, match=r"no room for stream QME_LOGS of up to 4096 MiB: .*max_file_store"
        ):
            await bus.ensure(topology.streams(Settings(home=tmp_path)))
        assert (await bus.state("QME_TASKS")).messages == 0
        fitting = Settings(
            home=tmp_path,
            logs_max_bytes=100 << 20,
            records_max_bytes=100 << 20,
            specs_max_bytes=100 << 20,
            events_max_bytes=100 << 20,
        )
        await bus.ensure(topology.streams(fitting))
        assert (await bus.state("QME_LOGS")).max_bytes == 100 << 20
        await bus.close()


async def test_a_bus_that_takes_small_messages_only(tmp_path: Path) -> None:
    """Said when the streams are set up: an output or a record that is too large would else never arrive."""
    with NatsServer(tmp_path / "nats", extra="max_payload: 65536") as server:
        bus = await open_nats(server, "ann")
        with pytest.raises(
            SettingsError, match=r"up to 65536 bytes only.*set max_payload of the server to 1048576"
        ):
            await bus.ensure([LOG])
        await bus.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a file system")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def grow(disk: Path) -> None:
    """Make room on it."""
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)


async def filled(bus: JetStreamBus) -> tuple[int, QmeError]:
    """Append until nothing more is taken; give the number taken, and what was said then."""
    for number in range(1000):
        try:
            await bus.append(f"log.{number}", token_bytes(200_000))
        except QmeError as error:
            return number, error
    raise AssertionError("the disk is not full")


async def test_a_full_disk_is_said_and_nothing_that_was_taken_is_lost(disk: Path) -> None:
    """A stream that could not write refuses until the server is started anew; then all that it had taken is there."""
    with NatsServer(disk / "nats", store="max_file_store: 1PB") as server:
        bus = await open_nats(server, "ann", publish_retry=1.0)
        await bus.ensure([LOG, REC])
        await bus.append("rec.a", b"kept")
        taken, error = await filled(bus)
        assert isinstance(error, BusUnavailable)
        assert "the bus answers, but has stored no message on log." in error.message
        assert "disk may be full" in error.message
        with pytest.raises(LimitReached, match="the disk of the bus is full; make room there"):
            await bus.purge("LOG", "log.0")  # even that needs some room
        last = await bus.last("REC", "rec.a", leader=True)
        assert last is not None
        assert last.data == b"kept"
        server.kill()
        (disk / "nats/log").write_text("")
        grow(disk)
        server.start()
        await until(lambda: bus.connected, 20)
        assert (await bus.append("log.more", b"x")).seq > taken
        assert {f"log.{number}" for number in range(taken)} <= set(await bus.subjects("LOG", ">"))
        await bus.close()

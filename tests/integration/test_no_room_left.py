"""The bucket of records is nearly full: new tasks are refused with what to do, what runs ends, and room mends it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.stack import Stack, until

from qme.bus.connect import connect
from qme.bus.port import Bus
from qme.contracts import subjects
from qme.settings import Settings

pytestmark = pytest.mark.timeout(180)

FILLER = "$KV.qme_tasks.filler.none.*"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Stack]:
    """A stack whose records have a mebibyte."""
    own = Stack(tmp_path / "home", {"QME_RECORDS_MAX_BYTES": "1MiB", "QME_HOST": "here"})
    own.home.mkdir()
    yield own
    own.qme("down", "--cancel")


def on_bus(stack: Stack, act: Callable[[Bus], Awaitable[None]]) -> None:
    """Do something on the stack's bus that no user could."""
    root = stack.home / "local/here"
    url = (root / "nats-server.conf").read_text().partition("port: ")[2].split()[0]

    async def there() -> None:
        bus = await connect(
            Settings(home=stack.home), url=f"nats://127.0.0.1:{url}", creds=root / "nats.creds", name="test"
        )
        try:
            await act(bus)
        finally:
            await bus.close()

    asyncio.run(there())


async def fill(bus: Bus) -> None:
    """Store what takes 93 % of the room."""
    for number in range(15):
        await bus.append(FILLER.replace("*", str(number)), bytes(65_000))


async def empty(bus: Bus) -> None:
    """Make room again."""
    await bus.purge(subjects.bucket_stream(subjects.BUCKET_TASKS), FILLER)


def test_new_tasks_are_refused_so_that_what_runs_can_end(small: Stack, tmp_path: Path) -> None:
    """Nothing has to be started anew afterwards."""
    begun, go = tmp_path / "begun", tmp_path / "go"
    words = f"touch {begun}; until [ -e {go} ]; do sleep 0.05; done; head -c 20000 /dev/zero | tr '\\0' x"
    uid = small.ok("submit", "sh", "-c", words).strip()
    until(begun.exists)
    on_bus(small, fill)
    refused = small.qme("submit", "true")
    while refused.returncode != 1:  # what was known of the room is renewed within seconds
        refused = small.qme("submit", "true")
    assert b"the records of tasks fills 9" in refused.stderr
    assert b"`qme clear --older-than 7d` makes room" in refused.stderr
    assert refused.stdout == b""
    go.touch()
    assert small.qme("wait", uid, "--timeout", "40").returncode == 0
    record = small.record(uid)
    assert (record["outcome"], record["data"]["output_bytes"]) == ("success", 20_000)
    on_bus(small, empty)
    until(lambda: small.qme("run", "echo", "again").stdout == b"again\n")

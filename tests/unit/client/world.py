"""A whole small world in memory: a real submitter, and a worker that plays commands instead of running them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.unit.client.scene import USER, Scene, now

from qme.bus import topology
from qme.bus.kv import Bucket
from qme.bus.memory import MemoryServer
from qme.client import AsyncClient
from qme.contracts import subjects
from qme.contracts.executors import Definition
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, TaskSpec
from qme.executor.base import COMMON_ACTIONS
from qme.settings import Settings
from qme_submitter.process import Submitter


class Player:
    """A worker of the user's own shell pool.

    ``echo WORDS`` writes them, ``exit N`` ends with that code; anything else runs until it is cancelled.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    async def introduce(self) -> None:
        """Make the executor known."""
        definition = Definition(
            executor="shell",
            pool=subjects.personal_pool(USER),
            matchstring=None,
            account=USER,
            actions=COMMON_ACTIONS,
            updated=now(),
        )
        key = subjects.definition_key("shell", definition.pool)
        await Bucket(self._scene.bus, subjects.BUCKET_EXECUTORS, Definition).put(key, definition)

    async def work(self) -> None:
        """Play every task that is queued."""
        async with self._scene.bus.follow(subjects.EVERY_QUEUE) as messages:
            async for message in messages:
                if message is not None:
                    await self._play(TaskKey(*message.subject.split(".")[2:]))

    async def _play(self, key: TaskKey) -> None:
        entry = await self._scene.records.get(str(key), leader=True)
        spec = await Bucket(self._scene.bus, subjects.BUCKET_SPECS, TaskSpec).get(str(key))
        assert entry is not None
        assert spec is not None
        attempt, words = entry.value.attempt, spec.value.command.split()
        await self._scene.start(key, attempt)
        if words[0] == "echo":
            said = " ".join(words[1:]) + "\n"
            await self._scene.write(key, said.encode(), attempt=attempt)
            await self._scene.end(key, attempt=attempt, output=[said], output_truncated=False)
        elif words[0] == "exit":
            code = int(words[1])
            outcome = Outcome.FAILED if code else Outcome.SUCCESS
            await self._scene.end(key, outcome, code, attempt=attempt)


@asynccontextmanager
async def world(settings: Settings) -> AsyncIterator[Scene]:
    """Run a submitter and a player while the context lasts."""
    server = MemoryServer()
    service, hands, reader = (server.connect(name) for name in ("submitter", USER, USER))
    await service.ensure(topology.streams(settings))
    scene = Scene(hands, reader, settings)
    stop, ready = asyncio.Event(), asyncio.Event()
    submitting = asyncio.create_task(Submitter(service, settings).run(stop, ready))
    player = Player(scene)
    await player.introduce()
    playing = asyncio.create_task(player.work())
    await ready.wait()
    try:
        yield scene
    finally:
        stop.set()
        playing.cancel()
        await asyncio.gather(submitting, playing, return_exceptions=True)
        for bus in (service, hands, reader):
            await bus.close()


@asynccontextmanager
async def client_of_a_world(settings: Settings, *, name: str = "") -> AsyncIterator[AsyncClient]:
    """Connect to a world of one's own; stands in for `qme.client.connect.connect`."""
    async with world(settings) as scene:
        yield scene.client

"""The list of executors: each speaks for itself."""

from __future__ import annotations

from tests.unit.client.scene import Scene, now

from qme.bus.kv import Bucket
from qme.client.executors import known
from qme.contracts import subjects
from qme.contracts.executors import Definition, Heartbeat


def _definition(executor: str, pool: str, account: str) -> Definition:
    return Definition(executor=executor, pool=pool, matchstring="^x", account=account, updated=now())


async def test_nobody_speaks_for_another_pool(stage: Scene) -> None:
    """What bob's worker may write under its own pool changes neither what is shown of the lab's nor who works there."""
    definitions = Bucket(stage.bus, subjects.BUCKET_EXECUTORS, Definition)
    beats = Bucket(stage.bus, subjects.BUCKET_EXECUTORS, Heartbeat)
    lab = _definition("shell", "lab", "lab")
    await definitions.put(subjects.definition_key("shell", "lab"), lab)
    await definitions.put(subjects.definition_key("shell", "u-bob"), _definition("shell", "lab", "root"))
    sign = Heartbeat(
        executor="shell", pool="lab", worker="w1", host="node1", pid=7, version="1", slots=1, active=0,
        started=now(), at=now(), interval=10,
    )  # fmt: skip
    await beats.put(subjects.heartbeat_key("shell", "u-bob", "w1"), sign)
    (only,) = await known(stage.bus)
    assert (only.definition, only.workers) == (lab, [])
    await beats.put(subjects.heartbeat_key("shell", "lab", "w1"), sign)
    (only,) = await known(stage.bus)
    assert only.workers == [sign]

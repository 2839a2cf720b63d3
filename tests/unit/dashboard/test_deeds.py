"""What people may do through the dashboard, with a real submitter and the bus in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.client.scene import USER, Scene
from tests.unit.client.world import world

from qme.contracts.messages import Target
from qme.errors import InvalidRequest, NotPermitted
from qme.settings import Settings
from qme_dashboard import deeds
from qme_dashboard.deeds import Person

OWNER = Person(USER, may_act=True)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Scene]:
    """A small world whose client is ann's."""
    async with world(Settings(home=tmp_path, user=USER, host="laptop", request_timeout=10.0)) as made:
        yield made


async def running(stage: Scene) -> Target:
    """A task of ann's that runs until it is cancelled."""
    result = await stage.client.submit("hold on")
    return Target(uuid=result.uuid, attempt=1)


@pytest.mark.parametrize("verb", deeds.VERBS)
async def test_a_dashboard_that_only_shows_asks_for_nothing(stage: Scene, verb: str) -> None:
    """Whoever it is: refused here, before anybody is asked."""
    target = await running(stage)
    for named in (False, True):
        with pytest.raises(NotPermitted, match="--allow-actions"):
            await deeds.change(stage.client, Person(USER, named=named), verb, [target])
    with pytest.raises(NotPermitted):
        await deeds.act(stage.client, Person(USER), target.uuid, "cancel", {})
    with pytest.raises(NotPermitted):
        await deeds.submit(stage.client, Person(USER), "true", {})
    assert (await stage.client.get(target.uuid)).cancel is None


async def test_a_person_whom_the_proxy_named_changes_their_own_tasks_only(stage: Scene) -> None:
    """Bob is refused ann's task although the dashboard could; ann is not, and the record says who asked."""
    target = await running(stage)
    (refused,) = await deeds.change(stage.client, Person("bob", may_act=True, named=True), "cancel", [target])
    assert (refused.ok, "bob" in refused.said or "ann" in refused.said) == (False, True)
    assert (await stage.client.get(target.uuid)).cancel is None
    (done,) = await deeds.change(stage.client, Person(USER, may_act=True, named=True), "cancel", [target])
    assert done.ok
    cancel = (await stage.client.get(target.uuid)).cancel
    assert cancel is not None
    assert (cancel.by, cancel.reason) == (USER, "asked by ann in the dashboard")


async def test_a_named_person_runs_nothing_as_the_dashboard(stage: Scene) -> None:
    """New commands and changing actions would be the account's own."""
    target = await running(stage)
    named = Person(USER, may_act=True, named=True)
    with pytest.raises(NotPermitted, match="qme submit"):
        await deeds.submit(stage.client, named, "true", {})
    with pytest.raises(NotPermitted):
        await deeds.act(stage.client, named, target.uuid, "cancel", {})
    answer = await deeds.act(stage.client, named, target.uuid, "status", {})
    assert answer["uid"].endswith(target.uuid)


async def test_an_attempt_that_was_not_seen_is_left_alone(stage: Scene) -> None:
    """A button pressed on an old page does nothing to what has begun since."""
    result = await stage.client.submit("exit 3")
    await stage.client.wait([result.uuid], 20)
    seen = Target(uuid=result.uuid, attempt=1)
    (first,) = await deeds.change(stage.client, OWNER, "rerun", [seen])
    await stage.client.wait([result.uuid], 20)
    (second,) = await deeds.change(stage.client, OWNER, "rerun", [seen])
    assert (first.said, second.said) == ("queued again", "nothing was left to do")
    assert (await stage.client.get(result.uuid)).attempt == 2


async def test_an_edited_command_is_a_new_task(stage: Scene) -> None:
    """With the labels of the old one."""
    uid = await deeds.submit(stage.client, OWNER, "echo 'two words'", {"labels": {"a": "b"}})
    record = await stage.client.get(uid)
    assert (record.command, record.labels) == ("echo two words", {"a": "b"})
    for wrong in ("", "echo 'open"):
        with pytest.raises(InvalidRequest):
            await deeds.submit(stage.client, OWNER, wrong, {})


async def test_what_is_not_named_or_unknown_is_refused(stage: Scene) -> None:
    """No task, too many, no such change, no such action."""
    target = await running(stage)
    for verb, targets in (("cancel", []), ("cancel", [target] * (deeds.MOST + 1)), ("forget", [target])):
        with pytest.raises(InvalidRequest):
            await deeds.change(stage.client, OWNER, verb, targets)
    with pytest.raises(InvalidRequest, match="no action"):
        await deeds.act(stage.client, OWNER, target.uuid, "explode", {})

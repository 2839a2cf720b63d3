"""`qme why`, whole: what it prints, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.unit.cli.conftest import Done
from tests.unit.client.scene import Scene

Run = Callable[..., Done]
A, B = (f"01990000-aaaa-7000-8000-00000000aaa{end}" for end in "ab")


async def _two(scene: Scene) -> None:
    await scene.task("true", uuid=A)
    await scene.last_is(await scene.task("true", uuid=B))


def test_it_says_each_thing_on_a_line(qme: Run) -> None:
    """Of the last task without an id."""
    done = qme("why", before=_two)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == "no worker of shell in pool u-ann is alive"


def test_json(qme: Run) -> None:
    """The same with a word for each kind, and the facts behind."""
    done = qme("why", A, "--json", before=_two)
    said = json.loads(done.out)
    assert (said["schema"], said["uid"], said["status"]) == (1, f"shell-{A}", "queued")
    assert [one["kind"] for one in said["obstacles"]] == ["no_worker"]


def test_an_end(qme: Run) -> None:
    """Nothing else is looked at."""

    async def ended(scene: Scene) -> None:
        await scene.run("true", uuid=A)

    assert qme("why", A, before=ended).out.startswith("it ended as success, ")

"""Pages of tasks by their executors' views, drawn by Streamlit; a real client on a bus in memory, played by hand."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from tests.unit.client.scene import USER, WORKER, Scene, now, scene

import qme_dashboard
from qme.bus.kv import Bucket
from qme.client import AsyncClient
from qme.contracts import subjects
from qme.contracts.executors import ActionInfo, Definition, Heartbeat, Pause
from qme.contracts.output import STDERR
from qme.contracts.subjects import TaskKey
from qme.contracts.tasks import Outcome, Parent
from qme.executor.base import COMMON_ACTIONS
from qme.lifecycle import Progressed
from qme.settings import Settings
from qme_dashboard import process, views
from qme_dashboard.hub import Hub

MAIN = Path(qme_dashboard.__file__).parent / "ui" / "main.py"
PATIENCE = 150.0
ACTIONS = (*COMMON_ACTIONS, ActionInfo(name="turn_up", help="Louder.", changes=True, remote=True))

pytestmark = pytest.mark.timeout(400)


class Theatre:
    """A hub of which the bus is a scene; what is played runs in its thread."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.scene: Scene

    def play(self, part: Callable[[Scene], Any]) -> Any:
        """Play something on the bus, and wait until the pages could show it."""
        seen = self.hub.seen
        answer = self.hub.call(lambda _: part(self.scene))
        self.until(lambda: self.hub.seen > seen)
        return answer

    def until(self, look: Callable[[], object]) -> None:
        """Look until it is so."""
        deadline = time.monotonic() + PATIENCE
        while not look():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def page(self, key: TaskKey) -> AppTest:
        """The page of a task, run."""
        self.until(lambda: self.hub.store.named([key.uuid]))
        return app(key.executor, task=key.taskid)


def app(path: str, **query: str) -> AppTest:
    """A page, run."""
    from streamlit.util import calc_hash

    made = AppTest.from_file(MAIN, default_timeout=PATIENCE)
    made._page_hash = calc_hash(path)
    for name, value in query.items():
        made.query_params[name] = value
    made.run()
    assert not made.exception
    return made


@pytest.fixture
def theatre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Theatre]:
    """A dashboard's process on a bus in memory, which begins with nothing on it."""
    settings = Settings(home=tmp_path, user=USER, nats_url="nats://127.0.0.1:1")
    made = Theatre(Hub(settings))

    @asynccontextmanager
    async def connected(*_: Any, **__: Any) -> AsyncIterator[AsyncClient]:
        async with scene(settings) as played:
            made.scene = played
            yield played.client

    monkeypatch.setattr("qme_dashboard.hub.connect", connected)
    monkeypatch.setattr("qme_dashboard.hub.EXECUTORS_EVERY", 0.05)
    process.begin(made.hub, may_act=True, named=False)
    made.hub.start()
    made.until(lambda: made.hub.ready and made.hub.seen)
    yield made
    made.hub.close()


async def advertise(stage: Scene, executor: str, *fields: str, paused: bool = False) -> None:
    """Say what a worker of an executor says."""
    bucket = Bucket(stage.bus, subjects.BUCKET_EXECUTORS, Definition)
    pool = f"u-{USER}"
    definition = Definition(
        executor=executor, pool=pool, matchstring=f"^{executor}", account=USER, fields=fields, actions=ACTIONS,
        updated=now(),
    )  # fmt: skip
    await bucket.put(subjects.definition_key(executor, pool), definition)
    pause = Pause(executor=executor, pool=pool, reason="new disks", by="ops", at=now()) if paused else None
    if pause is not None:
        await Bucket(stage.bus, subjects.BUCKET_EXECUTORS, Pause).put(
            subjects.pause_key(executor, pool), pause
        )
    beat = Heartbeat(
        executor=executor, pool=pool, worker=WORKER, host="login1", pid=7, version="1", slots=4, active=1,
        started=now(), at=now(), interval=60.0, pause=pause, paused=pause.reason if pause else None,
    )  # fmt: skip
    await Bucket(stage.bus, subjects.BUCKET_EXECUTORS, Heartbeat).put(
        subjects.heartbeat_key(executor, pool, WORKER), beat
    )


def bodies(at: AppTest) -> str:
    """All that stands in tables and timelines."""
    return "\n".join(str(one.proto.body) for one in at.get("html"))


def panes(at: AppTest) -> list[dict[str, Any]]:
    """What the parts of a page that are components of our own are given."""
    found = [json.loads(one.proto.json) for one in at.get("bidi_component")]
    return [pane for one in found for pane in one.get("panes", ())]


def test_a_shell_tasks_page(theatre: Theatre) -> None:
    """The command, how it ended, both streams, and who did what."""

    async def play(stage: Scene) -> TaskKey:
        key = await stage.task("echo", "hi")
        await stage.start(key)
        await stage.write(key, b"hi\n")
        await stage.write(key, b"\x1b[31moh\x1b[0m\n", STDERR)
        await stage.end(key, Outcome.FAILED, 3, pwd="/data")
        return key

    at = theatre.page(theatre.play(play))
    assert at.code[0].value == "echo hi"
    assert ">/data<" in bodies(at)
    assert ">3<" in bodies(at)
    assert "attempt 1 waited" in bodies(at)
    assert [(pane["name"], pane["spans"]) for pane in panes(at)] == [
        ("stdout", [["", "hi\n"]]), ("stderr", [["color:#d64545", "oh"], ["", "\n"]]),
    ]  # fmt: skip
    assert all("/output?stream=" in pane["link"] for pane in panes(at))


def test_a_slurm_tasks_page(theatre: Theatre) -> None:
    """Job, states with their times, elements; and no output of the task's own where elements have theirs."""
    states = [
        {"state": "PENDING", "reason": "Priority", "at": "2026-05-01T10:00:00+00:00"},
        {"state": "RUNNING", "at": "2026-05-01T10:01:00+00:00"},
    ]
    groups = [
        {"elements": "1-2", "state": "RUNNING", "outcome": None, "returncode": None, "node": "n1"},
        {"elements": "3", "state": "FAILED", "outcome": "failed", "returncode": 3, "node": "n2"},
    ]

    async def play(stage: Scene) -> TaskKey:
        key = await stage.task("sbatch", "-a", "1-3", "run.sh", executor="slurm")
        await stage.start(key)
        array = {"total": 3, "running": 2, "failed": 1, "groups": groups}
        data = {
            "jobid": "12",
            "slurm_state": "RUNNING",
            "partition": "main",
            "states": states,
            "array": array,
        }
        await stage.apply(key, Progressed(1, data))
        return key

    at = theatre.page(theatre.play(play))
    assert "PENDING (Priority), 1 m" in bodies(at)
    assert "States in slurm" in bodies(at)
    assert list(at.dataframe[0].value["element"]) == ["1", "2", "3"]
    assert list(at.dataframe[0].value["exit"]) == ["", "", "3"]
    assert panes(at) == []


def test_a_strangers_task_has_a_good_page_without_any_code_here(theatre: Theatre) -> None:
    """The fields that its workers advertise in their order, its states, and its actions as buttons."""

    async def play(stage: Scene) -> TaskKey:
        await advertise(stage, "loud", "volume", "pitch")
        key = await stage.task("loud", "hello", executor="loud")
        await stage.start(key)
        states = [{"state": "TUNING", "at": now().isoformat()}]
        await stage.apply(key, Progressed(1, {"pitch": "high", "volume": 11, "other": 1, "states": states}))
        return key

    at = theatre.page(theatre.play(play))
    shown = bodies(at)
    assert 0 < shown.index(">volume<") < shown.index(">pitch<")
    assert ">other<" not in shown
    assert "TUNING" in shown
    assert [button.label for button in at.button] == ["Cancel", "Status", "Turn up"]
    assert [pane["name"] for pane in panes(at)] == ["stdout", "stderr"]


def test_a_view_that_a_package_brings_is_used(theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its entry point, as pip would have installed it; it lays out the parts it wants."""
    point = EntryPoint("loud", f"{__name__}:loud_view", views.GROUP)
    monkeypatch.setattr(views, "entry_points", lambda group: [point])
    views.view_of.cache_clear()

    async def play(stage: Scene) -> TaskKey:
        await advertise(stage, "loud")
        return await stage.task("loud", "hello", executor="loud")

    try:
        at = theatre.page(theatre.play(play))
    finally:
        views.view_of.cache_clear()
    assert at.text[-1].value == "as loud as loud hello"
    assert ">Volume<" in bodies(at)
    assert panes(at) == []


def loud_view(ui: Any, task: views.TaskPage) -> None:
    """Lay a task out as a stranger might."""
    ui.text(f"as loud as {task.record.command}")
    task.facts({"Volume": 11})


def test_what_only_a_worker_can_answer_is_off_where_the_login_may_not_ask(theatre: Theatre) -> None:
    """A dashboard that asks on others' behalf says that it can't, and why."""

    async def play(stage: Scene) -> TaskKey:
        await advertise(stage, "loud")
        return await stage.task("loud", "hello", executor="loud")

    key = theatre.play(play)
    theatre.hub.user = f"{subjects.DASHBOARD}web"
    at = theatre.page(key)
    assert {button.label: button.disabled for button in at.button} == {
        "Cancel": False, "Status": False, "Turn up": True,
    }  # fmt: skip
    assert any("may not ask workers" in text.value for text in at.caption)


def test_a_paused_executor_says_who_paused_it_and_why(theatre: Theatre) -> None:
    """On its page, on the page of workers and on the overview."""
    theatre.play(lambda stage: advertise(stage, "loud", paused=True))
    for path in ("loud", "workers", "overview"):
        at = app(path)
        (said,) = [one.value.replace("\\", "") for one in at.warning]
        assert "takes nothing new, paused by ops: new disks" in said
        assert list(at.dataframe[0].value["takes tasks"]) == ["no: paused by ops: new disks"]


def test_a_groups_page(theatre: Theatre) -> None:
    """Its counts, what waits for what, and its tasks; of two with one name the newer one, which decides what failed."""

    async def play(stage: Scene) -> list[TaskKey]:
        keys = [await stage.task("make", group="nightly", name="build") for _ in range(2)]
        keys.append(await stage.task("lint", group="nightly", name="lint"))
        keys.append(
            await stage.task("test", group="nightly", name="test", after=(Parent(uuid=keys[1].uuid),))
        )
        for key, outcome in zip(keys, (Outcome.FAILED, Outcome.SUCCESS, Outcome.FAILED), strict=False):
            await stage.start(key)
            await stage.end(key, outcome, 0)
        return keys

    keys = theatre.play(play)
    theatre.until(lambda: len(theatre.hub.store.named([key.uuid for key in keys])) == 4)
    theatre.until(lambda: theatre.hub.store.groups()["queued"] == 1)
    at = app("groups", name="nightly", user=USER)
    assert at.title[0].value == "@nightly"
    (table,) = at.dataframe
    assert list(zip(table.value["name"], table.value["state"], strict=True)) == [
        ("test", "◌ queued"), ("lint", "✗ failed"), ("build", "✓ success"),
    ]  # fmt: skip
    (drawing,) = [json.loads(one.proto.json) for one in at.get("bidi_component")]
    assert [(node["label"], node["colour"]) for node in drawing["nodes"]] == [
        ("build", "#2a9d6f"), ("lint", "#d64545"), ("test", "#6f8df5"),
    ]  # fmt: skip
    assert len(drawing["edges"]) == 1
    for button, asked in (("Rerun what failed", keys[2]), ("Cancel what is open", keys[3])):
        page = app("groups", name="nightly", user=USER)
        next(one for one in page.button if one.label == button).click().run()
        assert not page.exception
        (listed,) = [one.value["task"] for one in page.dataframe if "task" in one.value]
        assert list(listed) == [asked.taskid]
    assert list(app("groups").dataframe[0].value["tasks"]) == [3]

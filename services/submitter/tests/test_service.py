"""The endpoints as clients meet them: over the bus, by the requester's own subject."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qme.bus.port import Bus
from qme.bus.port import Request as Incoming
from qme.client.executors import pauses
from qme.contracts import subjects
from qme.contracts.messages import (
    HEADER_BEHALF,
    CancelTasks,
    ClearTasks,
    ExecutorRequest,
    MatchReply,
    MatchRequest,
    PauseExecutor,
    Request,
    RerunTasks,
    Results,
    Submission,
    SubmitRequest,
    Target,
)
from qme.contracts.subjects import TaskKey, api_subject
from qme.contracts.tasks import Status
from qme.errors import NotPermitted, from_wire
from qme_submitter.process import Submitter
from qme_submitter.service import asker

from .conftest import World, eventually, submission

Frame = dict[str, Any]


def frame(seconds: float = 30.0) -> Frame:
    """Give what every request has."""
    return {"id": "r1", "expires": datetime.now(UTC) + timedelta(seconds=seconds), "client": "test"}


@pytest.fixture
async def served(world: World) -> AsyncIterator[Submitter]:
    """A submitter that runs whole."""
    one, stop, ready = await world.submitter(), asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(one.run(stop, ready))
    async with asyncio.timeout(10):
        await ready.wait()
    yield one
    stop.set()
    async with asyncio.timeout(10):
        await running


async def ask(bus: Bus, verb: str, request: Request | bytes, *, admin: bool = False) -> Any:
    """Ask as the bus's user does; give the answer, or raise the error in it."""
    data = request if isinstance(request, bytes) else request.model_dump_json(exclude_defaults=True).encode()
    answer = json.loads(await bus.request(api_subject(bus.user, verb, admin=admin), data, timeout=10.0))
    if "error" in answer:
        raise from_wire(answer["error"])
    return answer


async def submitted(bus: Bus, *tasks: Submission) -> Results:
    """Submit tasks."""
    return Results.model_validate(await ask(bus, "submit", SubmitRequest(**frame(), tasks=tasks)))


@pytest.mark.usefixtures("served")
async def test_a_task_goes_through_its_whole_life(world: World) -> None:
    """Submit, cancel, rerun and clear, each as its own request by the authenticated user."""
    ann = await world.connect("jane.doe")
    task = submission("echo", "hi")
    (accepted,) = (await submitted(ann, task)).results
    assert accepted.taskid == f"shell-{task.uuid}"
    assert accepted.record is not None
    assert accepted.record.user == "jane.doe"
    targets = (Target(uuid=task.uuid),)
    await ask(ann, "cancel", CancelTasks(**frame(), targets=targets))
    assert (await world.record(task.uuid)).status is Status.CANCELLED
    await ask(ann, "rerun", RerunTasks(**frame(), targets=targets))
    assert (await world.record(task.uuid)).attempt == 2
    cleared = Results.model_validate(
        await ask(ann, "clear", ClearTasks(**frame(), targets=targets, cancel=True))
    )
    assert [result.error for result in cleared.results] == [None]
    assert await world.stored(subjects.TASKS) == []


@pytest.mark.usefixtures("served")
async def test_many_tasks_are_answered_in_order_without_records(world: World) -> None:
    """A reply on many tasks stays small, whatever their records hold."""
    ann = await world.connect("ann")
    tasks = [submission("echo", "x" * 100) for _ in range(300)]
    results = (await submitted(ann, *tasks)).results
    assert [result.uuid for result in results] == [task.uuid for task in tasks]
    assert not any(result.record or result.error for result in results)


@pytest.mark.parametrize(
    ("verb", "made", "says"),
    [
        ("submit", lambda: b"{", "the request can't be read"),
        ("submit", lambda: b'{"id": "x"}', "the request can't be read: expires Field required"),
        ("submit", lambda: b'{"id":"x","expires":"2026-01-01T00:00:00","tasks":[]}', "lacks its time zone"),
        (
            "submit",
            lambda: b'{"id":"x","expires":"2099-01-01T00:00:00Z","tasks":[{"uuid":"u","argv":["\\ud800"]}]}',
            "read",
        ),
        (
            "submit",
            lambda: SubmitRequest(**frame(-60.0), tasks=()),
            "60 s after its end and was not carried out",
        ),
        (
            "cancel",
            lambda: CancelTasks(**frame(), targets=(Target(uuid="u"),) * 1001),
            "names 1001 tasks, the limit is 1000",
        ),
        (
            "submit",
            lambda: SubmitRequest(**frame(), tasks=tuple(submission("x" * 100_000) for _ in range(3))),
            "the limit for several tasks is 262144",
        ),
        ("match", lambda: MatchRequest(**frame(), argv=()), "the command is empty"),
        ("match", lambda: MatchRequest(**frame(), argv=("x",), others=((),)), "the command is empty"),
    ],
)
@pytest.mark.usefixtures("served")
async def test_a_request_that_cannot_be_carried_out_is_refused(
    world: World, verb: str, made: Callable[[], Request | bytes], says: str
) -> None:
    """What is broken, late or too large is answered with one sentence, and does nothing."""
    with pytest.raises(Exception, match=says) as refusal:
        await ask(await world.connect("ann"), verb, made())
    assert "\n" not in str(refusal.value)
    assert await world.queue() == []


@pytest.mark.usefixtures("served")
async def test_one_task_may_bring_files_beyond_the_limit_of_a_list(world: World) -> None:
    """A request with a single task is as large as the task."""
    ann = await world.connect("ann")
    (result,) = (await submitted(ann, submission("printf", *("x" * 100_000 for _ in range(5))))).results
    assert result.error is None


@pytest.mark.usefixtures("served")
async def test_match_explains_as_submit_decides(world: World) -> None:
    """The reply names the same place, and each candidate's verdict."""
    ann = await world.connect("ann")
    await world.define("slurm", "default", "^sbatch")
    answer = await ask(ann, "match", MatchRequest(**frame(), argv=("sbatch", "x")))
    reply = MatchReply.model_validate(answer)
    assert (reply.executor, reply.pool) == ("slurm", "default")
    (result,) = (await submitted(ann, submission("sbatch", "x"))).results
    assert result.taskid is not None
    assert result.taskid.startswith("slurm-")


@pytest.mark.usefixtures("served")
async def test_an_operator_acts_on_others_tasks_by_the_admin_subject(world: World) -> None:
    """Publishing there is the role; the same request by the user's subject is refused."""
    ann, op = await world.connect("ann"), await world.connect("op")
    task = submission()
    await submitted(ann, task)
    request = CancelTasks(**frame(), targets=(Target(uuid=task.uuid),))
    (refused,) = Results.model_validate(await ask(op, "cancel", request)).results
    assert refused.error is not None
    assert refused.error["code"] == "not_permitted"
    (done,) = Results.model_validate(await ask(op, "cancel", request, admin=True)).results
    assert done.error is None
    assert (await world.record(task.uuid)).status is Status.CANCELLED


async def test_an_operator_approves_and_forgets(world: World, served: Submitter) -> None:
    """A shared definition counts once approved; it is forgotten when nobody needs it any more."""
    ann, op = await world.connect("ann"), await world.connect("op")
    await world.define("other", "gpu", "^other")
    await world.bus.purge("KV_qme_executors", "$KV.qme_executors.ok.other.gpu")
    await served.registry.refresh(full=True)
    request = ExecutorRequest(**frame(), executor="other")
    (before,) = (await submitted(ann, submission("other", executor="other"))).results
    assert before.error is not None
    assert "not approved; an operator can: qme executors approve other --pool gpu" in before.error["message"]
    await ask(op, "approve", request, admin=True)
    task = submission("other")
    (after,) = (await submitted(ann, task)).results
    assert after.taskid == f"other-{task.uuid}"

    with pytest.raises(Exception, match="has 1 task"):
        await ask(op, "forget", request, admin=True)
    await ask(ann, "cancel", CancelTasks(**frame(), targets=(Target(uuid=task.uuid),)))
    await world.beat("other", "gpu", "w")
    with pytest.raises(Exception, match="has 1 living worker"):
        await ask(op, "forget", request, admin=True)
    await world.bus.purge("KV_qme_executors", "$KV.qme_executors.hb.>")
    await served.registry.refresh(full=True)
    await ask(op, "forget", request, admin=True)
    with pytest.raises(Exception, match="there is no executor 'other'"):
        await ask(op, "forget", request, admin=True)

    await served.registry.refresh()
    await world.define("other", "gpu", "^other")
    await served.registry.refresh()
    again = submission("other")
    await submitted(ann, again)
    async with (
        asyncio.timeout(10),
        ann.pull(subjects.TASKS, subjects.consumer("other", "gpu"), credit=lambda: 1) as queue,
    ):
        delivery = await anext(queue)
    assert delivery.message.subject.endswith(again.uuid)


async def test_an_operator_pauses_and_resumes(world: World, served: Submitter) -> None:
    """Who submits meanwhile is told why it waits; the word stands on the bus until it is taken back, and is audited."""
    ann, op = await world.connect("ann"), await world.connect("op")
    await world.beat("shell", "default", "w")
    asked = PauseExecutor(**frame(), executor="shell", reason="new disks")
    await ask(op, "pause", asked, admin=True)
    (told,) = (await submitted(ann, submission("true"))).results
    assert told.note == "shell (pool default) is paused by op: new disks; the task waits"
    await ask(op, "drain", asked.model_copy(update={"reason": "moving"}), admin=True)
    (known,) = await pauses(world.bus, "shell", "default")
    assert (known.reason, known.by, known.drain) == ("moving", "op", True)
    for _ in range(2):
        await ask(op, "resume", ExecutorRequest(**frame(), executor="shell"), admin=True)
    assert await pauses(world.bus) == []
    (told,) = (await submitted(ann, submission("true"))).results
    assert told.note is None
    with pytest.raises(Exception, match="a pause needs a reason"):
        await ask(op, "pause", asked.model_copy(update={"reason": " "}), admin=True)
    await served.audit.flush()
    trail = [
        json.loads(message.data)
        async for message in world.bus.read(subjects.EVENTS, subjects.request_event("*", "op"))
    ]
    assert [(one["verb"], one["reason"]) for one in trail][:3] == [
        ("pause", "new disks"),
        ("drain", "moving"),
        ("resume", None),
    ]


async def test_what_is_refused_as_a_whole_is_on_the_audit_trail(world: World, served: Submitter) -> None:
    """Too late, not readable, of a dashboard that names nobody: who, what and why; `match` is not."""
    ann, dash = await world.connect("ann"), await world.connect("dash-main")
    late = {**frame(-60.0), "client": "laptop"}
    targets = (Target(uuid=submission().uuid),)
    for bus, verb, request, admin in (
        (ann, "submit", SubmitRequest(**late, tasks=(submission(),)), False),
        (ann, "cancel", b"{", False),
        (ann, "match", b"{", False),
        (dash, "clear", ClearTasks(**frame(), targets=targets), True),
    ):
        with pytest.raises(Exception):  # noqa: B017, PT011 - the trail is what counts
            await ask(bus, verb, request, admin=admin)
    await served.audit.flush()
    trail = [
        json.loads(message.data)
        async for message in world.bus.read(subjects.EVENTS, subjects.EVERY_REQUEST_EVENT)
    ]
    told = [(one["user"], one["verb"], one["id"], one["client"], one["problem"][:34]) for one in trail]
    assert told == [
        ("ann", "submit", "r1", "laptop", "invalid: the request came 60 s aft"),
        ("ann", "cancel", "", "", "invalid: the request can't be read"),
        ("dash-main", "clear", "r1", "test", "not_permitted: dash-main has to na"),
    ]


@pytest.mark.parametrize(
    ("matchstring", "pool", "asked", "says"),
    [
        ("(?=x)", "gpu", None, "can't be used: invalid perl operator"),
        (None, "u-ann", None, "its owner's own and needs no approval"),
        (None, "gpu", "cpu", "has no pool 'cpu'; its pools: gpu"),
    ],
)
@pytest.mark.usefixtures("served")
async def test_what_cannot_be_approved_is_said(
    world: World, matchstring: str | None, pool: str, asked: str | None, says: str
) -> None:
    """A broken pattern, a personal pool and a pool that is not there."""
    await world.define("other", pool, matchstring)
    op = await world.connect("op")
    with pytest.raises(Exception) as refusal:  # noqa: PT011 - the sentence is compared below
        await ask(op, "approve", ExecutorRequest(**frame(), executor="other", pool=asked), admin=True)
    assert says in str(refusal.value)


async def test_nobody_talks_their_request_off_the_audit_trail(world: World, served: Submitter) -> None:
    """Whatever a request says at length is cut: an event that is too large for the bus would be lost."""
    ann = await world.connect("ann")
    task = submission("echo", "hi")
    await submitted(ann, task)
    for said in ({"client": "c" * 500_000}, {"reason": "r" * 500_000}, {"id": "i" * 500_000}):
        await ask(ann, "cancel", CancelTasks(**{**frame(), **said}, targets=(Target(uuid=task.uuid),)))
    await ask(ann, "cancel", CancelTasks(**frame(), targets=(Target(uuid="u" * 500_000),)))
    await served.audit.flush()
    events = [event async for event in world.bus.read(subjects.EVENTS, subjects.EVERY_REQUEST_EVENT)]
    assert [json.loads(event.data)["verb"] for event in events] == ["submit", *["cancel"] * 4]
    assert max(len(event.data) for event in events) < 2000


@pytest.mark.usefixtures("served")
async def test_what_users_change_is_on_the_audit_trail(world: World) -> None:
    """Who asked, for what, and how it ended; reading leaves no trace."""
    ann = await world.connect("ann")
    task = submission()
    await submitted(ann, task, submission(""))
    await ask(ann, "match", MatchRequest(**frame(), argv=("x",)))

    async def trail() -> list[dict[str, Any]]:
        subject = subjects.request_event("submitter", "ann")
        return [json.loads(message.data) async for message in world.bus.read(subjects.EVENTS, subject)]

    await eventually(trail)
    (event,) = await trail()
    assert (event["verb"], event["user"], event["operator"], event["client"]) == (
        "submit",
        "ann",
        False,
        "test",
    )
    assert event["done"] == [f"shell-{task.uuid}"]
    assert list(event["refused"].values()) == ["invalid"]


async def test_requests_are_counted_by_verb_and_result(world: World, served: Submitter) -> None:
    """A monitor tells what users did wrong from what failed here."""
    ann = await world.connect("ann")
    task = submission()
    await submitted(ann, task)
    await submitted(ann, task)
    await submitted(ann, submission("x", executor="nobody"))

    def value(name: str, **labels: str) -> float | None:
        return served.metrics_registry.get_sample_value(f"qme_submitter_{name}_total", labels)

    assert value("requests", verb="submit", result="ok") == 2.0
    assert value("requests", verb="submit", result="refused") == 1.0
    assert (value("deduplicated"), value("unroutable")) == (1.0, 1.0)


async def test_several_submitters_share_the_requests(world: World, served: Submitter) -> None:
    """One request is answered by one of them, and when one stops the other goes on."""
    other, stop, ready = await world.submitter(), asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(other.run(stop, ready))
    await ready.wait()
    ann = await world.connect("ann")
    tasks = [submission("echo", str(i)) for i in range(20)]
    for task in tasks[:10]:
        await submitted(ann, task)
    stop.set()
    await running
    for task in tasks[10:]:
        await submitted(ann, task)
    assert await world.queue() == [task.uuid for task in tasks]


def test_a_dashboard_asks_with_the_rights_of_the_person_it_names() -> None:
    """Its own name is no operator's, and a person named by anybody is no operator either."""

    def incoming(user: str, person: str | None = None) -> Incoming:
        headers = {HEADER_BEHALF: person} if person else {}
        return Incoming(api_subject(user, "cancel", admin=True), user, b"", headers)

    assert asker(incoming("dash-web", "ann"), admin=True) == asker(incoming("ann"), admin=False)
    with pytest.raises(NotPermitted, match="dash-web has to name the person"):
        asker(incoming("dash-web"), admin=True)
    assert asker(incoming("ann", "bob"), admin=False).name == "ann"
    assert asker(incoming("op"), admin=True).operator


async def test_another_submitter_makes_a_forgotten_executors_queue_again(world: World) -> None:
    """It learns change by change of what an operator forgot elsewhere, and makes the consumer for who comes back."""
    await world.define("other", "gpu", "^other")
    one, other = await world.submitter(), await world.submitter()
    await one.service.admin.forget(ExecutorRequest(**frame(), executor="other"))
    await other.registry.refresh()
    await world.define("other", "gpu", "^other")
    await other.registry.refresh()
    await other.buckets.enqueue(TaskKey("other", "gpu", submission("other").uuid), 1)
    name = subjects.consumer("other", "gpu")
    async with asyncio.timeout(10), world.bus.pull(subjects.TASKS, name, credit=lambda: 1) as queue:
        delivery = await anext(queue)
    assert delivery.message.subject.startswith(subjects.queue_filter("other", "gpu").removesuffix("*"))

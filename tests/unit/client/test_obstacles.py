"""What keeps a task waiting: said where somebody can mend it, and not where it is the usual course of things."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qme.client.obstacles import Ancestor, Facts, obstacles, sentence
from qme.contracts.arrays import Element, Progress
from qme.contracts.executors import Heartbeat, Pause
from qme.contracts.resources import Capacity, Resources
from qme.contracts.tasks import (
    CancelRequest,
    Claim,
    On,
    Outcome,
    Parent,
    Status,
    TaskRecord,
    WaitingFor,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
UID = "shell-01990000-aaaa-7000-8000-00000000aaaa"


PAUSE = Pause(executor="shell", pool="lab", reason="new disks", by="olga", at=NOW + timedelta(minutes=2))


def beat(
    worker: str, paused: str | None = None, *, active: int = 0, pause: Pause | None = None, **more: Any
) -> Heartbeat:
    """A worker's sign of life."""
    return Heartbeat(
        executor="shell",
        pool="lab",
        worker=worker,
        host="h",
        pid=1,
        version="0",
        slots=1,
        active=active,
        started=NOW,
        at=NOW,
        interval=10.0,
        paused=pause.sentence if pause else paused,
        pause=pause,
        **more,
    )


def record(*, released: bool = True, claimed_by: str | None = None, **more: Any) -> TaskRecord:
    """A task."""
    return TaskRecord(
        uid=UID,
        executor="shell",
        pool="lab",
        command="true",
        user="ann",
        created=NOW,
        released=NOW if released else None,
        claim=Claim(worker=claimed_by, nonce="n", at=NOW) if claimed_by else None,
        **more,
    )


def facts(task: TaskRecord, *workers: Heartbeat, **more: Any) -> Facts:
    """What surrounds a task, five minutes later."""
    return Facts(record=task, now=NOW + timedelta(minutes=5), workers=workers, **more)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (facts(record()), "no worker of shell in pool lab is alive"),
        (facts(record(), beat("w")), None),
        (facts(record(), beat("w", "full"), beat("v")), None),
        (facts(record(), beat("w", "full"), beat("v", "full")), "shell takes nothing now: full"),
        (
            facts(record(resources=Resources(cpus=9)), beat("w", capacity=Capacity(cpus=2))),
            "it asks for 9 cpus, and no living worker has that; there is 2 cpus",
        ),
        (facts(record(released=False)), "no worker of shell in pool lab is alive"),
        (facts(record(claimed_by="w"), beat("w")), None),
        (facts(record(claimed_by="w")), None),
        (facts(record(claimed_by="w"), beat("v", "full")), None),
        (facts(record(claimed_by="w"), beat("w", "full")), "its worker, w, says: full"),
        (facts(record(), pause=PAUSE), "shell is paused by olga: new disks (3 min ago)"),
        (facts(record(claimed_by="w"), beat("w", pause=PAUSE), pause=PAUSE), None),
    ],
)
def test_what_is_said_to_those_who_wait(seen: Facts, said: str | None) -> None:
    """Nobody there, everybody paused, its own worker in trouble; slots taken or a retry's delay is nothing to say."""
    assert sentence(seen) == (None if said is None else f"{UID}: {said}")


TURN = "it is not its turn: higher priorities go first (its own is 0), and users take turns"
PARENT = Parent(uuid="u2", on=On.SUCCESS)


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (
            facts(record(outcome=Outcome.FAILED, finished=NOW, reason="it broke", data={"returncode": 3})),
            {"ended": "it ended as failed (exit code 3), 5 min ago: it broke"},
        ),
        (
            facts(record(outcome=Outcome.LOST, provisional=True)),
            {"ended": "it ended as lost; that is a guess, its worker may come back"},
        ),
        (
            facts(record(claimed_by="w", status=Status.RUNNING, started=NOW), beat("w")),
            {"running": "it is with worker w, since 5 min ago"},
        ),
        (
            facts(
                record(claimed_by="w", cancel=CancelRequest(by="ann", at=NOW, reason="enough")),
                told=("job 7 waits: Priority",),
            ),
            {
                "cancelling": "ann asked for its end 5 min ago: enough",
                "claimed": "worker w has it, and has not said yet that it runs",
                "worker_silent": "w is not heard of: how the task stands is not known",
                "executor": "job 7 waits: Priority",
            },
        ),
        (
            facts(record(), pause=PAUSE, last_seen=NOW, approved=False, before=2),
            {
                "not_approved": "an operator has to approve shell in pool lab",
                "paused": "shell is paused by olga: new disks (3 min ago)",
                "no_worker": "no worker of shell in pool lab is alive, the last was seen 5 min ago",
                "line": "2 task(s) are queued before it in shell, pool lab",
            },
        ),
        (
            facts(
                record(released=False, waiting_for=WaitingFor(count=3, parents=(PARENT,))),
                beat("w"),
                parents=(Ancestor(PARENT, record(status=Status.RUNNING)),),
            ),
            {
                "parent": f"it waits for {UID} to end well, which is running",
                "parents": "and for 2 other task(s)",
            },
        ),
        (
            facts(record(released=False, attempt=2, not_before=NOW + timedelta(minutes=7)), beat("w")),
            {"not_before": "attempt 2 begins in 2 min: it ended badly before, and waits"},
        ),
        (
            facts(record(released=False), beat("w")),
            {"turn": TURN},
        ),
        (
            facts(record(released=False, element=Element(of="h", index=3, throttle=8)), beat("w")),
            {"turn": TURN, "throttle": "of its array at most 8 are released at once"},
        ),
        (
            facts(record(released=False, array=Progress(count=100, made=64)), beat("w")),
            {"array": "it is an array: 64 of its 100 tasks are made, the others as their turn comes"},
        ),
        (
            facts(record(), beat("w", active=1), beat("v", active=1), before=1),
            {
                "line": "1 task(s) are queued before it in shell, pool lab",
                "slots": "all 2 slot(s) of 2 worker(s) are taken",
            },
        ),
        (
            facts(record(), beat("w"), before=0),
            {"next": "it is next: a worker with a free slot takes it in a moment"},
        ),
        (
            facts(record(), known=False),
            {
                "unknown_executor": "there is no executor shell in pool lab any more",
                "no_worker": "no worker of shell in pool lab is alive",
            },
        ),
    ],
)
def test_one_sentence_for_each_thing(seen: Facts, says: dict[str, str]) -> None:
    """In the order in which they count; an end is all that there is to say of what has ended."""
    found = [(one.kind, one.says) for one in obstacles(seen)]
    assert found == [*says.items()]

"""What the janitor does for a record: one row per state of a task."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from qme.contracts.tasks import CancelRequest, Claim, Outcome, Status, TaskRecord
from qme.lifecycle import CancelAsked
from qme_submitter.judgement import Apply, Duty, NeedsMessage, duty, pause

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SOON = NOW + timedelta(seconds=1)
CLAIM = Claim(worker="w", nonce="n", at=NOW)
WISH = CancelRequest(by="ann", at=NOW, reason="r")
BASE = TaskRecord(
    uid="shell-0199aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee",
    executor="shell",
    pool="p",
    command="c",
    user="ann",
    created=NOW,
    attempt=3,
)


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        pytest.param({"released": NOW}, NeedsMessage(NOW), id="released: its message has to be there"),
        pytest.param({"released": NOW, "claim": CLAIM}, None, id="claimed: its worker's turn"),
        pytest.param({"released": NOW, "claim": CLAIM, "cancel": WISH}, None, id="its worker reads the wish"),
        pytest.param(
            {"released": NOW, "cancel": WISH}, Apply(CancelAsked("ann", NOW, 3, "r")), id="end it here"
        ),
        pytest.param({"not_before": NOW}, None, id="what waits is released elsewhere"),
        pytest.param(
            {"not_before": SOON, "cancel": WISH},
            Apply(CancelAsked("ann", NOW, 3, "r")),
            id="cancelled meanwhile",
        ),
        pytest.param(
            {"status": Status.COMPLETE, "outcome": Outcome.SUCCESS, "finished": NOW}, None, id="it has ended"
        ),
        pytest.param(
            {"status": Status.LOST, "outcome": Outcome.LOST, "finished": NOW, "provisional": True},
            None,
            id="lost by silence: its worker may still tell",
        ),
    ],
)
def test_each_state_calls_for_one_thing(changed: dict[str, object], wanted: Duty) -> None:
    """The verdict follows from the record alone."""
    assert duty(BASE.model_copy(update=changed), NOW) == wanted


def test_looks_grow_rarer_as_a_task_waits() -> None:
    """A task that waits for a worker for days is looked at every ten minutes."""
    assert [pause(waited, 5.0) for waited in (0, 5, 40, 86_400)] == [5.0, 5.0, 40, 600.0]

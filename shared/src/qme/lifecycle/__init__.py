"""The life of a task: ``advance(record, event) -> Transition``. The only place where a status changes.

Pure: no IO, no clock (every event brings its time). Whoever writes a record reads it, advances it by the event, writes
it at the revision it read, and on a conflict does all three again: so every event is judged against what is true then.

    event            who          what it does
    Released         submitter    a worker may claim the task now; a queue message becomes due
    Unmet            submitter    a parent ended otherwise than the task waits for: cancelled, with the reason
    Unfit            worker       no living worker can ever run it: the reason is said, and it waits on
    Claimed          worker       the attempt belongs to this worker alone
    TakenOver        worker       the attempt of a worker that fell silent goes on here, where its executor can do that
    Started          worker       the command runs (or waits in a scheduler, then the status stays `queued`)
    Progressed       worker       exported data or the status in the scheduler changed
    CancelAsked      submitter    unclaimed: ends it here; claimed: the wish is recorded and the worker is nudged
    Ended            worker       the attempt has ended; with retries left the next one begins in the same write
    Gathered         submitter    more of an array's tasks are made, or all of them have ended
    Vanished         janitor      silence for too long: `lost`, provisionally, until the worker says otherwise
    Returned         worker       it still has the attempt: `lost` was wrong, or the bus has forgotten the claim
    Rerun            submitter    another attempt of an ended task

An event that reports on an attempt names it. A report on an earlier attempt changes only that attempt's line in
`attempts`; a repeated report changes nothing (the transition is then `unchanged`, and nothing is written).
"""

from qme.lifecycle.events import (
    CancelAsked,
    Claimed,
    Dequeue,
    Effect,
    Ended,
    Enqueue,
    Event,
    Finish,
    Gathered,
    Nudge,
    Progressed,
    Released,
    Rerun,
    Retry,
    Returned,
    Started,
    TakenOver,
    Unfit,
    Unmet,
    Vanished,
)
from qme.lifecycle.parents import Met, Never, Standing, Verdict, Waits, edge, judge
from qme.lifecycle.records import KEPT_ATTEMPTS, new_record, story, violations, waiting_for
from qme.lifecycle.steps import step_headers
from qme.lifecycle.transitions import Transition, advance

__all__ = [
    "KEPT_ATTEMPTS",
    "CancelAsked",
    "Claimed",
    "Dequeue",
    "Effect",
    "Ended",
    "Enqueue",
    "Event",
    "Finish",
    "Gathered",
    "Met",
    "Never",
    "Nudge",
    "Progressed",
    "Released",
    "Rerun",
    "Retry",
    "Returned",
    "Standing",
    "Started",
    "TakenOver",
    "Transition",
    "Unfit",
    "Unmet",
    "Vanished",
    "Verdict",
    "Waits",
    "advance",
    "edge",
    "judge",
    "new_record",
    "step_headers",
    "story",
    "violations",
    "waiting_for",
]

"""Which steps of a task's life one change of its record takes, as headers of that write: what is counted once for all.

Told by whoever writes, since it alone sees both records; the compare-and-set makes sure that no step is taken twice.
"""

from __future__ import annotations

from datetime import datetime

from qme.contracts.tasks import HEADER_RAN, HEADER_STEPS, HEADER_WAITED, NO_STEPS, Step, TaskRecord


def step_headers(before: TaskRecord | None, after: TaskRecord) -> dict[str, str]:
    """Give the headers for the write that replaces `before` (None: there was no record) by `after`."""
    steps: list[Step] = []
    headers: dict[str, str] = {}
    if before is None:
        steps.append(Step.SUBMITTED)
    elif after.attempt > before.attempt:
        steps.append(Step.RETRIED if after.retries > before.retries else Step.RERUN)
    if after.started is not None and (before is None or before.started is None):
        steps.append(Step.STARTED)
        ready = before.released if before is not None else None
        headers[HEADER_WAITED] = _seconds(ready or after.released or after.created, after.started)
    if after.outcome is not None and (before is None or before.outcome is not after.outcome):
        steps.append(Step.ENDED)
        if after.started is not None and after.finished is not None:
            headers[HEADER_RAN] = _seconds(after.started, after.finished)
    return {HEADER_STEPS: ",".join(steps) or NO_STEPS, **headers}


def _seconds(since: datetime, until: datetime) -> str:
    # Two machines' clocks may disagree.
    return f"{max((until - since).total_seconds(), 0.0):.3f}"

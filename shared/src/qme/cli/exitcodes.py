"""From what became of tasks to an exit code: a pure table.

run, and wait or submit --wait of one task: the command's own code; 128+n signal, 124 timeout, 137 out of memory,
125 where qme itself failed, and where nobody knows the code: cancelled before it started, lost.
All else: 0 ok, 1 a task failed, 2 usage, 3 not found, 4 permission, 5 bus unreachable, 6 no executor matches,
7 cancelled, 8 lost, 9 wait timed out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qme.cli.context import OWN_FAILURE
from qme.contracts.tasks import On, Outcome, Parent, TaskRecord

TIMEOUT = 124
OUT_OF_MEMORY = 137
FAILED, CANCELLED, LOST, WAIT_TIMED_OUT = 1, 7, 8, 9

#: the table above for people, as far as a verb has use of it
HELP_OF_ONE = """\
  the command's own; 128+n if signal n ended it, 124 timeout, 137 out of memory;
  125 if qme itself failed, or nobody knows the code (cancelled early, lost)"""
HELP_OF_MANY = "  0 all succeeded, 1 one failed, 7 cancelled, 8 lost"
HELP_OF_FAILURES = "2 usage, 4 permission, 5 bus unreachable, 6 no executor"


def of_one(record: TaskRecord) -> int:
    """Give the exit code of a task that has ended, as its command's own."""
    code = record.data.get("returncode")
    own = _shell_code(code) if isinstance(code, int) else None
    match record.outcome:
        case Outcome.SUCCESS:
            return 0
        case Outcome.TIMEOUT:
            return TIMEOUT
        case Outcome.OUT_OF_MEMORY:
            return OUT_OF_MEMORY
        case Outcome.LOST:
            return OWN_FAILURE
        case Outcome.CANCELLED:
            return OWN_FAILURE if own is None else own or FAILED
        case _:
            return own or FAILED


def of_many(records: Iterable[TaskRecord]) -> int:
    """Give the exit code of several tasks that have ended: that of the worst.

    What waited for a failure that did not come counts for nothing, nor what waited for that in turn.
    """
    codes: dict[Outcome | None, int] = {Outcome.SUCCESS: 0, Outcome.CANCELLED: CANCELLED, Outcome.LOST: LOST}
    ended = list(records)
    known = {record.uuid: record for record in ended}
    counted = (record for record in ended if not _was_not_needed(record, known))
    return max((codes.get(record.outcome, FAILED) for record in counted), default=0)


def _was_not_needed(record: TaskRecord | None, known: Mapping[str, TaskRecord]) -> bool:
    while record is not None and record.unmet is not None:
        parents = record.after.parents if record.after else ()
        if Parent(uuid=record.unmet, on=On.FAIL) in parents:
            return True
        record = known.get(record.unmet)
    return False


def _shell_code(code: int) -> int:
    """Spell a return code as a shell does: a signal is 128 + its number, and eight bits are all there is."""
    return 128 - code if code < 0 else code & 0xFF

"""`qme wait`: until tasks have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from qme.cli import exitcodes, progress
from qme.cli.context import Context, detaching, say
from qme.cli.parsing import IDS_HELP, Arguments, Parser, seconds
from qme.cli.run import explain
from qme.cli.table import Table
from qme.cli.verbs import Verb
from qme.client import groups
from qme.contracts.tasks import TaskRecord
from qme.errors import NotFound, WaitTimedOut

#: ids that a sentence names
_SHOWN = 4


def arguments(parser: Parser) -> None:
    """Any number of ids."""
    parser.add_argument("ids", nargs="+", metavar="ID", help=IDS_HELP)
    parser.add_argument("--timeout", metavar="TIME", type=seconds, help="give up after this; the tasks go on")
    parser.end_with(
        f"exit code, one task:\n{exitcodes.HELP_OF_ONE}\n"
        f"exit code, several tasks:\n{exitcodes.HELP_OF_MANY}, 9 the wait timed out"
    )


async def wait(args: Arguments, context: Context) -> int:
    """Of one task, exit with the command's code; of several, print one line for each once all have ended."""
    context.strict = len(args.ids) == 1 and groups.name_of(args.ids[0]) is None
    async with context.client() as client:
        uuids = dict.fromkeys([uuid async for uuid in groups.uuids(client, args.ids)])
        ended: dict[str, TaskRecord] = {}
        with detaching(lambda: detached(args.ids)), progress.shown(len(uuids)) as bar:
            try:
                async with asyncio.timeout(args.timeout):
                    async for done in client.ended(uuids):
                        if done.record is None:
                            raise NotFound(f"the task {done.uuid} has been cleared")
                        ended[done.uuid] = done.record
                        bar.note(done.record)
            except TimeoutError:
                left = _unended(len(uuids) - len(ended), len(uuids))
                raise WaitTimedOut(f"the wait timed out after {args.timeout:g} s; {left}") from None
    records = [ended[uuid] for uuid in uuids]
    if context.strict:
        explain(records[0])
        return exitcodes.of_one(records[0])
    table = Table([("ID", 44), ("OUTCOME", 9), ("CODE", 4)])
    for record in records:
        table.row(record.uid, str(record.outcome), str(exitcodes.of_one(record)))
    doubtful = sum(record.provisional for record in records)
    if doubtful:
        say(f"{doubtful} lost ones may still be corrected, when their workers come back")
    return exitcodes.of_many(records)


def _unended(count: int, total: int) -> str:
    if total == 1:
        return "the task has not ended, and goes on"
    have, go = ("has", "goes") if count == 1 else ("have", "go")
    return f"{count} of {total} tasks {have} not ended, and {go} on"


def detached(names: Sequence[str]) -> str:
    """Say how to wait again."""
    shown = " ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
    return f"detached; nothing was cancelled: `qme wait {shown}` waits again"


VERBS = {"wait": Verb(arguments, wait)}

"""`qme wait`: until tasks have ended."""

from __future__ import annotations

import asyncio

from qme.cli import exitcodes
from qme.cli.context import Context, detaching, say
from qme.cli.parsing import Arguments, Parser, seconds
from qme.cli.run import explain
from qme.cli.table import Table
from qme.cli.verbs import Verb
from qme.contracts.tasks import TaskRecord
from qme.errors import NotFound, WaitTimedOut


def arguments(parser: Parser) -> None:
    """Any number of ids."""
    parser.add_argument("ids", nargs="+", metavar="ID")
    parser.add_argument("--timeout", metavar="TIME", type=seconds, help="give up after this; the tasks go on")


async def wait(args: Arguments, context: Context) -> int:
    """Print one line for each task as it ends; of one task, exit with the command's code."""
    context.strict = len(args.ids) == 1
    async with context.client() as client:
        uuids = dict.fromkeys([(await client.records.need(text)).uuid for text in args.ids])
        table = Table([("ID", 44), ("OUTCOME", 9), ("CODE", 4)])
        ended: list[TaskRecord] = []
        with detaching("detached; nothing was cancelled"):
            try:
                async with asyncio.timeout(args.timeout):
                    async for done in client.ended(uuids):
                        if done.record is None:
                            raise NotFound(f"the task {done.uuid} has been cleared")
                        ended.append(done.record)
                        table.row(*_cells(done.record))
            except TimeoutError:
                left = f"{len(uuids) - len(ended)} of {len(uuids)}"
                raise WaitTimedOut(
                    f"the wait timed out after {args.timeout:g} s; {left} had not ended, and go on"
                ) from None
    if context.strict:
        explain(ended[0])
        return exitcodes.of_one(ended[0])
    doubtful = sum(record.provisional for record in ended)
    if doubtful:
        say(f"{doubtful} lost ones may still be corrected, when their workers come back")
    return exitcodes.of_many(ended)


def _cells(record: TaskRecord) -> tuple[str, str, str]:
    return record.uid, str(record.outcome), str(exitcodes.of_one(record))


VERBS = {"wait": Verb(arguments, wait)}

"""`qme events` and `export`: what happened, and everything as data."""

from __future__ import annotations

from qme.cli.context import Context, say
from qme.cli.parsing import Arguments, Parser
from qme.cli.table import Table, stamp
from qme.cli.verbs import Verb
from qme.client import Wanted
from qme.contracts.tasks import TaskRecord


def events_arguments(parser: Parser) -> None:
    """Which task."""
    parser.add_argument("id", nargs="?", default="last", metavar="ID", help="default: your last task")


async def events(args: Arguments, context: Context) -> int:
    """Print a task's audit trail, oldest first."""
    table = Table([("TIME", 24), ("STATE", 9), ("ATTEMPT", 7), ("BY", 2)])
    async with context.client() as client:
        task = (await client.records.last()).uid if args.id == "last" else args.id
        async for change in client.events(task):
            table.row(stamp(change.at), change.outcome or change.status, change.attempt, change.by)
    return 0


def export_arguments(parser: Parser) -> None:
    """Whose tasks, and how much of each."""
    parser.add_argument("executor", nargs="?", metavar="EXECUTOR", help="only this executor's tasks")
    parser.add_argument("--all-users", action="store_true", help="everybody's tasks")
    parser.add_argument("--output", action="store_true", help="with up to 64 KiB of each output stream")


async def export(args: Arguments, context: Context) -> int:
    """Write records as JSON lines, in the order of their last change."""
    async with context.client() as client:
        user = None if args.all_users else client.user
        async for item in client.stream(Wanted(executor=args.executor, user=user)):
            if not isinstance(item, TaskRecord):
                say(item.problem)
                continue
            record = await client.with_output(item) if args.output else item
            print(record.model_dump_json())
    return 0


VERBS = {"events": Verb(events_arguments, events), "export": Verb(export_arguments, export)}

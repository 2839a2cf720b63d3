"""`qme events` and `export`: what happened, and everything as data."""

from __future__ import annotations

from qme.cli import choosing
from qme.cli.context import Context, say
from qme.cli.parsing import Arguments, Parser, seconds
from qme.cli.table import Table, stamp
from qme.cli.verbs import Verb
from qme.client.listing import ago
from qme.contracts.tasks import TaskRecord
from qme.errors import InvalidRequest


def events_arguments(parser: Parser) -> None:
    """Which task, or whose requests."""
    parser.add_argument("id", nargs="?", metavar="ID", help="what became of a task; default: your last one")
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--user", metavar="NAME", help="what this user asked for, instead of a task's events")
    whose.add_argument("--all-users", action="store_true", help="what everybody asked for")
    parser.add_argument(
        "--since", metavar="TIME", type=seconds, help="with these: only the last so long, such as 1d"
    )


async def events(args: Arguments, context: Context) -> int:
    """Print a task's audit trail, or that of requests, oldest first."""
    if args.user is not None or args.all_users:
        if args.id is not None:
            raise InvalidRequest("name a task, or whose requests you want to see, not both")
        return await _requests(args, context)
    if args.since is not None:
        raise InvalidRequest("--since goes with --user or --all-users")
    table = Table([("TIME", 24), ("STATE", 9), ("ATTEMPT", 7), ("BY", 2)])
    async with context.client() as client:
        task = (await client.records.last()).uid if args.id in (None, "last") else args.id
        async for change in client.events(task):
            table.row(stamp(change.at), change.outcome or change.status, change.attempt, change.by)
    return 0


async def _requests(args: Arguments, context: Context) -> int:
    table = Table(
        [("TIME", 24), ("USER", 10), ("VERB", 8), ("BY", 10), ("CLIENT", 12), ("REFUSED", 7), ("ABOUT", 0)]
    )
    async with context.client() as client:
        async for asked in client.asked(args.user, ago(args.since)):
            by = "operator" if asked.operator else asked.asked_by
            place = "/".join(filter(None, (asked.executor, asked.pool)))
            about = " ".join((*asked.done, *(f"{uuid}:{code}" for uuid, code in asked.refused.items())))
            table.row(
                stamp(asked.at),
                asked.user,
                asked.verb,
                by,
                asked.client,
                "all" if asked.problem else str(len(asked.refused)),
                about or " ".join(filter(None, (place, asked.reason, asked.problem))),
            )
    return 0


def export_arguments(parser: Parser) -> None:
    """Which tasks, and how much of each."""
    parser.add_argument("executor", nargs="?", metavar="EXECUTOR", help="only this executor's tasks")
    choosing.add(parser)
    parser.add_argument(
        "--older-than", metavar="TIME", type=seconds, help="only those that ended this long ago, such as 30d"
    )
    parser.add_argument("--output", action="store_true", help="with up to 64 KiB of each output stream")


async def export(args: Arguments, context: Context) -> int:
    """Write records as JSON lines, in the order of their last change; holds a page of them at a time."""
    choosing.check(args)
    async with context.client() as client:
        wanted = choosing.wanted(client, args, executor=args.executor, ended_before=ago(args.older_than))
        async for item in client.stream(wanted):
            if not isinstance(item, TaskRecord):
                say(item.problem)
                continue
            record = await client.with_output(item) if args.output else item
            print(record.model_dump_json())
    return 0


VERBS = {"events": Verb(events_arguments, events), "export": Verb(export_arguments, export)}

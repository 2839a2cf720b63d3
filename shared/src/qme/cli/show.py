"""`qme ls`, `get` and `search`: what there is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TextIO

from qme.cli import choosing
from qme.cli.context import Context, say
from qme.cli.parsing import Arguments, Parser, count
from qme.cli.table import Table, age, stamp
from qme.cli.verbs import Verb
from qme.client import AsyncClient, Listing, Wanted, elements, groups
from qme.contracts.output import NAMES
from qme.contracts.tasks import TaskRecord
from qme.errors import NotFound

#: digits of an id that tables show: its end, since its beginning is a time
_SHOWN = 8


def ls_arguments(parser: Parser) -> None:
    """Which tasks, and how to write them."""
    parser.add_argument("targets", nargs="*", metavar="EXECUTOR|ID|@GROUP", help="only these")
    choosing.add(parser)
    parser.add_argument(
        "-n", "--limit", metavar="N", type=count, default=50, help="the newest N (default 50; 0: all)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON array of records, without their output")
    form.add_argument("--jsonl", action="store_true", help="the same, one record a line")


async def ls(args: Arguments, context: Context) -> int:
    """List tasks, newest first."""
    choosing.check(args)
    async with context.client() as client:
        listing = await _listing(client, args)
    for problem in listing.unreadable:
        say(problem)
    if args.json:
        print(json.dumps([_plain(record) for record in listing.records], ensure_ascii=False, indent=1))
    elif args.jsonl:
        for record in listing.records:
            print(json.dumps(_plain(record), ensure_ascii=False))
    else:
        _print(listing.records, is_shared=args.all_users)
        if listing.more:
            say(f"the newest {args.limit}; --limit 0 lists all")
    return 0


def get_arguments(parser: Parser) -> None:
    """Which task."""
    parser.add_argument(
        "id", nargs="?", metavar="ID", help="default: your last task; ID[3-7]: those elements of an array"
    )


async def get(args: Arguments, context: Context) -> int:
    """Print a task's record, with its output up to 64 KiB of each stream."""
    name, wanted = elements.split(args.id) if args.id else (None, None)
    async with context.client() as client:
        if wanted is None:
            print((await client.get(name)).model_dump_json(indent=2))
            return 0
        rows = elements.rows(await client.get(name, output=False), wanted)
    print(json.dumps(rows[0] if wanted.isdecimal() else rows, ensure_ascii=False, indent=2))
    return 0


def search_arguments(parser: Parser) -> None:
    """What to look for."""
    parser.add_argument("query", metavar="QUERY", help="regular expression (RE2), upper and lower case alike")
    choosing.add_whose(parser)
    parser.add_argument("--jsonl", action="store_true", help="one JSON record a line, without its output")


async def search(args: Arguments, context: Context) -> int:
    """List the tasks in whose command, message or data the expression is found, as they are found."""
    from qme.client.searching import matcher  # re2

    matcher(args.query)  # a mistake in it is said before a bus is looked for
    table = Tasks(is_shared=args.all_users)
    async with context.client() as client:
        async for record in client.search(args.query, Wanted(user=choosing.user(client, args))):
            if args.jsonl:
                print(json.dumps(_plain(record), ensure_ascii=False), flush=True)
            else:
                table.row(record)
    return 0


# -- parts -----------------------------------------------------------------------------------------------------------
async def _listing(client: AsyncClient, args: Arguments) -> Listing:
    limit = args.limit or None
    if not args.targets:
        return await client.list(choosing.wanted(client, args), limit)
    found: dict[str, TaskRecord] = {}
    problems: list[str] = []
    more = False
    for target in args.targets:
        if (group := groups.name_of(target)) is not None:
            await groups.members(client, group)
            part = await client.list(choosing.wanted(client, args, group=group), limit)
            found.update((record.uuid, record) for record in part.records)
            more = more or part.more
            continue
        record = await _task(client, target)
        if record is not None:
            found[record.uuid] = record
            continue
        part = await client.list(choosing.wanted(client, args, executor=target), limit)
        if not part.records and target not in {
            known.definition.executor for known in await client.executors()
        }:
            raise NotFound(f"no such task or executor: {target!r}")
        found.update((record.uuid, record) for record in part.records)
        problems += part.unreadable
        more = more or part.more
    newest = sorted(found.values(), key=lambda record: (record.created, record.uuid), reverse=True)
    return Listing(newest, more, problems)


async def _task(client: AsyncClient, target: str) -> TaskRecord | None:
    """Give the task that a word names; None where it can only be an executor's name."""
    try:
        return await client.records.need(target)
    except NotFound:
        return None


def _plain(record: TaskRecord) -> dict[str, object]:
    left_out = {names.excerpt for names in NAMES.values()}
    return record.model_dump(mode="json", exclude={"data": left_out})


def _print(records: Iterable[TaskRecord], *, is_shared: bool) -> None:
    table = Tasks(is_shared=is_shared)
    for record in records:
        table.row(record)


class Tasks:
    """The table of tasks: short on a terminal, whole ids and times elsewhere."""

    def __init__(self, *, is_shared: bool, out: TextIO | None = None) -> None:
        user = [("USER", 8)] if is_shared else []
        columns = [("ID", _SHOWN), ("EXECUTOR", 8), ("STATE", 9), ("AGE", 4), *user, ("COMMAND", 7)]
        self._is_shared = is_shared
        self._table = Table(columns, out)
        if not self._table.is_terminal:
            self._table = Table([*columns[:-1], ("MESSAGE", 0), columns[-1]], out)

    def row(self, record: TaskRecord) -> None:
        """Write a task's row."""
        user = [record.user] if self._is_shared else []
        state = str(record.outcome or record.status)
        if self._table.is_terminal:
            said = f"{record.name}: " if record.name else ""
            said += f"[{record.message}] " if record.message else ""
            age_now = age(record.created)
            self._table.row(
                record.uuid[-_SHOWN:], record.executor, state, age_now, *user, said + record.command
            )
        else:
            created = stamp(record.created)
            self._table.row(
                record.uid, record.executor, state, created, *user, record.message or "", record.command
            )


VERBS = {
    "ls": Verb(ls_arguments, ls),
    "get": Verb(get_arguments, get),
    "search": Verb(search_arguments, search),
}

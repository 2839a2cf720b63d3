"""`qme cancel` and `rerun`: ask for a change of tasks, and say what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from qme.cli import choosing
from qme.cli.context import Context, say
from qme.cli.parsing import IDS_HELP, Arguments, Parser
from qme.cli.table import visible
from qme.cli.verbs import Verb
from qme.client import AsyncClient, Wanted, elements, groups
from qme.contracts.messages import Result
from qme.contracts.tasks import TaskRecord
from qme.errors import InvalidRequest, QmeError, from_wire

#: the action by which an executor ends some elements of a task that stands for many
CANCEL_ELEMENTS = "cancel_elements"


def cancel_arguments(parser: Parser) -> None:
    """Which tasks, and why."""
    parser.add_argument(
        "ids", nargs="*", metavar="ID", help=f"{IDS_HELP}; ID[3-7]: those elements of an array"
    )
    parser.add_argument("--reason", metavar="TEXT", help="kept in the record")
    parser.add_argument(
        "--signal", metavar="NAME", help="send this signal, such as USR1, and let the task go on with it"
    )
    parser.add_argument(
        "--all", action="store_true", help="all of yours that have not ended, or of them those"
    )
    choosing.add(parser)
    add_admin(parser)


async def cancel(args: Arguments, context: Context) -> int:
    """End tasks; one that has ended already is no error."""
    _check_cancel(args)
    if args.signal is not None or args.all:
        return await _cancel_chosen(args, context)
    named = [elements.split(text) for text in args.ids if groups.name_of(text) is None]
    names = [name for text in args.ids if (name := groups.name_of(text)) is not None]
    async with context.client() as client:
        codes = [await _cancel_group(client, name, args) for name in names]
        targets = await client.targets([name for name, part in named if part is None])
        parts = [(name, part) for name, part in named if part is not None]
        code = await _cancel_elements(client, parts, args) or next(filter(None, codes), 0)
        if not targets:
            return code
        results = await client.control.cancel(targets, reason=args.reason, admin=args.admin)
        return report(results, "cancelled") or code


def _check_cancel(args: Arguments) -> None:
    choosing.check(args)
    if bool(args.ids) == args.all:
        raise InvalidRequest("name the tasks, or say --all")
    if not args.all and (args.status or args.label or args.user or args.all_users):
        raise InvalidRequest("--status, --label, --user and --all-users go with --all")
    if args.signal is not None and args.reason is not None:
        raise InvalidRequest("a signal takes no --reason: the task goes on")


async def _cancel_chosen(args: Arguments, context: Context) -> int:
    """End all tasks that fit, or send a signal to those or to the named ones."""
    async with context.client() as client:
        records: list[TaskRecord] = []
        for text in args.ids:
            name = groups.name_of(text)
            records += (
                [await client.get(text, output=False)] if name is None else await groups.members(client, name)
            )
        if args.all:
            chosen = client.stream(choosing.wanted(client, args))
            records = [one async for one in chosen if isinstance(one, TaskRecord)]
            records = [one for one in records if not one.ended]
        if args.signal is None:
            return await _cancel_together(client, "all", records, args)
        code = 0
        actions = client.actions(admin=args.admin)
        for record in records:
            if args.all and record.claim is None:  # nobody to send it to, and nobody named it
                continue
            try:
                say(f"{record.uid}: {await actions.signal(record, args.signal)}")
            except QmeError as error:
                say(f"{record.uid}: {error.message}")
                code = code or error.exit_code
        return code


async def _cancel_group(client: AsyncClient, name: str, args: Arguments) -> int:
    """End a group's tasks: those that wait first, as the end of another could start them."""
    members = [record for record in await groups.members(client, name) if not record.ended]
    return await _cancel_together(client, f"@{name}", members, args)


async def _cancel_together(
    client: AsyncClient, what: str, members: Sequence[TaskRecord], args: Arguments
) -> int:
    results: list[Result] = []
    for part in ([one for one in members if one.waits], [one for one in members if not one.waits]):
        targets = [groups.target(record) for record in part]
        if targets:
            results += await client.control.cancel(targets, reason=args.reason, admin=args.admin)
    asked = [result for result in results if result.note]
    bad = [result for result in results if result.error is not None]
    done = len(results) - len(asked) - len(bad)
    say(f"{what}: {done} cancelled" + (f", {len(asked)} asked to end" if asked else ""))
    return report(bad, None)


async def _cancel_elements(client: AsyncClient, parts: Sequence[tuple[str, str]], args: Arguments) -> int:
    """Have a worker end elements; the task itself goes on, so its record has no place for the wish."""
    code = 0
    for name, part in parts:
        record = await client.get(name, output=False)
        try:
            answer = await client.actions(admin=args.admin).run(record, CANCEL_ELEMENTS, {"elements": part})
            say(f"{record.uid}[{part}]: {answer}")
        except QmeError as error:
            say(f"{record.uid}[{part}]: {error.message}")
            code = code or error.exit_code
    return code


def rerun_arguments(parser: Parser) -> None:
    """Which tasks."""
    parser.add_argument("ids", nargs="*", metavar="ID", help=f"{IDS_HELP} (default: your last task)")
    parser.add_argument(
        "--failed",
        action="store_true",
        help="only those that ended without success, and what was cancelled for it; of all your tasks if none is named",
    )
    parser.add_argument("--force", action="store_true", help="also one that is lost and may still be running")
    add_admin(parser)


async def rerun(args: Arguments, context: Context) -> int:
    """Start another attempt of ended tasks, and print their ids."""
    async with context.client() as client:
        ids = args.ids
        if args.failed:
            records = await _records(client, ids)
            targets = [groups.target(record) for record in groups.failed(records)]
            if not targets:
                say("nothing of these has failed")
                return 0
        elif ids:
            targets = list(await client.targets(ids))
        else:
            last = await client.get(output=False)
            say(f"reruns your last task, {last.uid}: {visible(last.command)}")
            targets = list(await client.targets([last.uuid]))
        results = await client.control.rerun(targets, force=args.force, admin=args.admin)
    for result in results:
        if result.error is None:
            print(result.taskid or result.uuid)
    return report(results, None)


async def _records(client: AsyncClient, ids: Sequence[str]) -> list[TaskRecord]:
    """Read the tasks that are named, all of the user's where none is; those made first come first."""
    found: list[TaskRecord] = []
    for text in ids:
        group = groups.name_of(text)
        found += [await client.records.need(text)] if group is None else await groups.members(client, group)
    if not ids:
        own = Wanted(user=client.user)
        found = [item async for item in client.stream(own) if isinstance(item, TaskRecord)]
    return sorted(found, key=lambda record: (record.created, record.uuid))


def add_admin(parser: Parser) -> None:
    """Take the word by which an operator acts on others' tasks: never by accident."""
    parser.add_argument("--admin", action="store_true", help="as an operator, also others' tasks")


def report(results: Sequence[Result], done: str | None) -> int:
    """Say what became of each task (`done` where nothing more is known); give the first error's exit code."""
    code = 0
    for result in results:
        name = result.taskid or result.uuid
        if result.error is not None:
            error = from_wire(result.error)
            code = code or error.exit_code
            say(error.message if name[-36:] in error.message else f"{name}: {error.message}")
        elif result.note:
            say(result.note if name[-36:] in result.note else f"{name}: {result.note}")
        elif result.already:
            say(f"{name}: nothing was left to do")
        elif done:
            say(f"{name}: {done}")
    return code


VERBS = {"cancel": Verb(cancel_arguments, cancel), "rerun": Verb(rerun_arguments, rerun)}

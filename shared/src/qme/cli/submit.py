"""`qme submit`: hand commands over and print their tasks' ids."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from qme.cli import exitcodes, options, progress, quick
from qme.cli.arrays import read_arrays
from qme.cli.context import Context, detaching, say
from qme.cli.parsing import Arguments, Parser, add_command, command_of, count
from qme.cli.run import explain
from qme.cli.verbs import Verb
from qme.cli.wait import detached
from qme.client import AsyncClient
from qme.client.origin import new_uuid
from qme.client.submission import prepare
from qme.contracts.messages import Result, Submission
from qme.contracts.tasks import TaskRecord
from qme.errors import InvalidRequest, NotFound, from_wire


def arguments(parser: Parser) -> None:
    """The options of `run`, and those for many commands."""
    options.add(parser)
    parser.add_argument(
        "--file", metavar="LIST", help="submit each line of this file (- for stdin) as a command"
    )
    parser.add_argument(
        "--workflow", metavar="FILE", help="submit a workflow, or go on with it: what has not succeeded runs"
    )
    many = parser.add_argument
    many(
        "--array",
        metavar="LIST",
        help="many tasks in one: 1-100, 1,3,7-21:2, 1-100%%8 (8 at once); QME_ARRAY_INDEX",
    )
    many(
        "--each-line",
        metavar="FILE",
        help="a task for each line (- for stdin), as QME_LINE and for {} in a word",
    )
    many(
        "--from-json",
        metavar="FILE",
        help="a task for each object of this list or of these lines: its variables",
    )
    many(
        "--at-once",
        metavar="N",
        type=count,
        default=0,
        help="at most N tasks of --each-line or --from-json at once",
    )
    parser.add_argument("--fresh", action="store_true", help="of a workflow also what has succeeded")
    parser.add_argument("--wait", action="store_true", help="wait until it has ended, and exit with its code")
    parser.add_argument("--json", action="store_true", help="print records as JSON lines instead of ids")
    add_command(parser)
    parser.end_with(
        f"exit code:\n  0 accepted, {exitcodes.HELP_OF_FAILURES}\n"
        f"exit code with --wait:\n{exitcodes.HELP_OF_ONE}\n"
        f"exit code with --wait and --file:\n{exitcodes.HELP_OF_MANY}"
    )


async def submit(args: Arguments, context: Context) -> int:
    """Print one line for each task, as it is accepted."""
    if args.workflow is not None:
        return await _workflow(args, context)
    if args.file is not None:
        return await _list(args, context)
    arrays = read_arrays(args)
    commands = [command_of(args)] * max(1, len(arrays))
    context.strict = args.wait and not arrays
    wishes, host = options.read(args), context.settings.host
    prepared = [prepare(command, wishes, host=host) for command in commands]
    if arrays:
        name = wishes.group or _group_name(args.each_line or args.from_json or "array")
        prepared = [
            task.model_copy(update={"array": array, "group": name})
            for task, array in zip(prepared, arrays, strict=True)
        ]
        say(f"group @{name}, {sum(array.count for array in arrays)} tasks")
    if context.begun is not None:
        prepared = [task.model_copy(update={"uuid": context.begun}) for task in prepared]
    async with context.client() as client:
        parents = await client.parents(wishes)
        tasks = [client.own(task, parents) for task in prepared]
        accepted, code = await _submit(client, tasks, args)
        if not args.wait:
            return code
        return await _wait(client, accepted, context, args) or code


async def _list(args: Arguments, context: Context) -> int:
    """Submit the lines of a file."""
    from qme.cli import many

    if read_arrays(args):
        raise InvalidRequest("an array is of one command, --file has many: give one of them")
    lines = _lines_of(args)
    many.check(lines)
    wishes, host = options.read(args), context.settings.host
    if not wishes.group:
        wishes = replace(wishes, group=_plain(wishes.key) if wishes.key else _group_name(args.file))
        say(f"group @{wishes.group}")
    accepted: list[Result] = []
    code = 0
    async with context.client() as client:
        parents = await client.parents(wishes)
        # Ids on a terminal show by themselves how it goes on.
        with progress.shown(0 if sys.stdout.isatty() else len(lines)) as bar:
            async for number, result in many.results(client, lines, wishes, parents, host):
                bar.count("refused" if result.error else "submitted")
                if result.error is not None:
                    error = from_wire(result.error)
                    say(f"line {number}: {error.message}")
                    code = code or error.exit_code
                    continue
                if args.wait:
                    accepted.append(result)
                if result.note:
                    say(result.note)
                if not (args.wait and args.json):
                    _print_id(result, args)
        return (await _wait(client, accepted, context, args) or code) if args.wait else code


async def _workflow(args: Arguments, context: Context) -> int:
    """Submit what of a workflow has to run; the ids of all its tasks are printed, parents first."""
    from qme.cli import workflow
    from qme.client import workflows

    waits = args.after or args.after_any or args.after_fail
    if args.command or args.file or args.key or waits or read_arrays(args):
        raise InvalidRequest("--workflow takes its commands, keys and what they wait for from its file")
    flow = workflow.read(args.workflow)
    wishes = options.read(args)
    prepared = workflows.prepared(flow, wishes, host=context.settings.host)
    group = wishes.group or flow.name
    async with context.client() as client:
        run = await workflows.begin(
            client,
            prepared,
            fresh=args.fresh,
            tell=lambda plan: workflow.tell(group, plan.kept, plan.again, plan.new),
        )
        code, accepted = 0, []
        for task, result in zip(run.tasks, run.results, strict=True):
            if result.error is not None:
                error = from_wire(result.error)
                say(f"{task.name}: {error.message}")
                code = code or error.exit_code
                continue
            accepted.append(result)
            if not (args.wait and args.json):
                _print_id(result, args)
        return (await _wait(client, accepted, context, args) or code) if args.wait else code


async def _submit(
    client: AsyncClient, tasks: Sequence[Submission], args: Arguments
) -> tuple[list[Result], int]:
    accepted: list[Result] = []
    async for result in client.submit_many(tasks):
        if result.error is not None:
            raise from_wire(result.error)
        accepted.append(result)
        if result.note:
            say(result.note)
        if not (args.wait and args.json):
            _print_id(result, args)
    return accepted, 0


def _print_id(result: Result, args: Arguments) -> None:
    quick.show(_shown(result, args), result.taskid or result.uuid)


async def _wait(client: AsyncClient, accepted: Sequence[Result], context: Context, args: Arguments) -> int:
    uuids = [result.uuid for result in accepted]
    ended: list[TaskRecord] = []
    names = [result.taskid or result.uuid for result in accepted]
    with detaching(lambda: detached(names)), progress.shown(len(uuids)) as bar:
        async for done in client.ended(uuids):
            if done.record is None:
                raise NotFound(f"the task {done.uuid} has been cleared")
            ended.append(done.record)
            bar.note(done.record)
            if args.json:
                print(done.record.model_dump_json(), flush=True)
            if context.strict:
                explain(done.record)
    return exitcodes.of_one(ended[0]) if context.strict else exitcodes.of_many(ended)


def _shown(result: Result, args: Arguments) -> str:
    if args.json and result.record is not None:
        return result.record.model_dump_json()
    return result.taskid or result.uuid


def _group_name(file: str) -> str:
    """Make a name for the tasks of a list: its own, and a few digits that tell one submission from the next."""
    return f"{_plain(Path(file).stem if file != '-' else 'stdin')}-{new_uuid()[-6:]}"


def _plain(text: str) -> str:
    """Make a group's name of a text."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:40] or "list"


def _lines_of(args: Arguments) -> list[tuple[int, str]]:
    """Give the commands of a file with their line numbers."""
    if args.command:
        raise InvalidRequest("give a command or --file, not both")
    if args.array or args.each_line or args.from_json:
        raise InvalidRequest("an array is of one command, --file has many: give one of them")
    commands = list(_lines(args.file))
    if not commands:
        raise InvalidRequest(f"there is no command in {args.file}")
    return commands


def _lines(name: str) -> Iterator[tuple[int, str]]:
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        text = raw.decode()
    except OSError as error:
        raise InvalidRequest(f"can't read --file {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"can't read --file {name}: it is not UTF-8 text") from error
    for number, line in enumerate(text.split("\n"), 1):
        command = line.strip()
        if command and not command.startswith("#"):
            yield number, command


VERBS = {"submit": Verb(arguments, submit)}

"""`qme exec`: an executor's actions.

Three forms: EXECUTOR lists them, ACTION runs one on the last task, ID ACTION on any.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable

from qme.cli.change import add_admin
from qme.cli.context import Context
from qme.cli.parsing import Arguments, Parser, pair
from qme.cli.raw import Sink, say_if_only_stderr
from qme.cli.table import Table
from qme.cli.verbs import Verb
from qme.client import AsyncClient, Chunk, Gap
from qme.contracts.executors import ActionInfo
from qme.contracts.output import STDERR, STDOUT
from qme.contracts.tasks import TaskRecord
from qme.errors import InvalidRequest, NotFound, RecordCorrupt
from qme.executor.base import COMMON_ACTIONS

_STREAMS = {"output": STDOUT, "error": STDERR}


def arguments(parser: Parser) -> None:
    """One or two words, and the action's own arguments."""
    parser.lay_out(
        """
        qme exec EXECUTOR                 list its actions
        qme exec ACTION [KEY=VALUE...]    run one on your last task
        qme exec ID ACTION [KEY=VALUE...] run one on that task
        """
    )
    parser.add_argument("words", nargs="+", metavar="WORD", help="one of the three forms above")
    add_admin(parser)


async def act(args: Arguments, context: Context) -> int:
    """List actions or run one, and print its answer: text as it is, all else as JSON."""
    given = dict(pair(word) for word in args.words[1:] if "=" in word)
    words = [word for word in args.words if "=" not in word or word == args.words[0]]
    _check(words)
    async with context.client() as client:
        if len(words) == 1:
            actions = await _actions_of_executor(client, words[0])
            if actions is not None:
                return _list(actions)
            record = await _last_with(client, words[0])
        else:
            record = await client.get(words[0], output=False)
        return await _run(client, record, words[-1], given, admin=args.admin)


def _check(words: list[str]) -> None:
    """Refuse what is none of the three forms, before a bus is looked for."""
    match words:
        case ["last"]:
            raise InvalidRequest("an action is missing; did you mean `qme exec last output`?")
        case [action, task] if task == "last" or action in {info.name for info in COMMON_ACTIONS}:
            raise InvalidRequest(f"the task comes first; did you mean `qme exec {task} {action}`?")
        case [_] | [_, _]:
            return
    raise InvalidRequest(f"say EXECUTOR, ACTION, or ID ACTION, not {len(words)} words")


async def _last_with(client: AsyncClient, name: str) -> TaskRecord:
    """Give the last task, if it has such an action."""
    unknown = f"{name!r} is no executor, and no action of your last task"
    try:
        record = await client.get(output=False)
    except (NotFound, RecordCorrupt) as error:
        raise NotFound(f"{unknown}: {error.message}") from error
    if name not in {info.name for info in await client.actions().of(record)}:
        raise NotFound(f"{unknown}, {record.uid}")
    return record


async def _actions_of_executor(client: AsyncClient, name: str) -> Iterable[ActionInfo] | None:
    for known in await client.executors():
        if known.definition.executor == name:
            return known.definition.actions
    return None


def _list(actions: Iterable[ActionInfo]) -> int:
    table = Table([("ACTION", 10), ("", 0)])
    for info in actions:
        table.row(info.name, info.help)
    return 0


async def _run(
    client: AsyncClient, record: TaskRecord, name: str, given: dict[str, str], *, admin: bool
) -> int:
    is_remote = {info.name: info.remote for info in await client.actions().of(record)}
    if name in _STREAMS and is_remote.get(name) is False:
        # As bytes and piece by piece: an action's answer would be all of it as one text.
        sink = Sink(merged=True)
        async for piece in _pieces(client, record, _STREAMS[name], given):
            await sink.take(piece, record)
        if name == "output":
            say_if_only_stderr(record)
        return 0
    answer = await client.actions(admin=admin).run(record, name, given)
    if isinstance(answer, str):
        print(answer, end="" if answer.endswith("\n") else "\n")
    elif answer is not None:
        print(json.dumps(answer, ensure_ascii=False, indent=2))
    return 0


def _pieces(
    client: AsyncClient, record: TaskRecord, stream: str, given: dict[str, str]
) -> AsyncIterator[Chunk | Gap]:
    """Read the log stream; from ``offset=N`` on the worker's spool, which has what was too much for it."""
    if not given:
        return client.output(record.uuid, attempt=record.attempt, streams=(stream,)).stored(record)
    if given.keys() != {"offset"} or not given["offset"].isdigit():
        raise InvalidRequest("all that it can be told is offset=N, a number of bytes")
    return client.actions().spooled(record, stream, int(given["offset"]))


VERBS = {"exec": Verb(arguments, act)}

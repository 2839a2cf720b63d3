"""`qme executors` and `match`: who takes which commands."""

from __future__ import annotations

import argparse

from qme.cli.context import Context, say
from qme.cli.parsing import Arguments, Parser, add_command, command_of
from qme.cli.table import Table, age
from qme.cli.verbs import Verb
from qme.client.executors import Known
from qme.errors import InvalidRequest, NoExecutorMatches, NotFound


def executors_arguments(parser: Parser) -> None:
    """A name, or what an operator wants done."""
    parser.add_argument("words", nargs="*", metavar="[forget|approve] [NAME]", help="without: list them all")
    parser.add_argument("--pool", metavar="NAME", help="the executor of this pool")


async def executors(args: Arguments, context: Context) -> int:
    """List executors, show one's workers, forget or approve one."""
    words = list(args.words)
    verb = words.pop(0) if words[:1] in (["list"], ["forget"], ["approve"]) else "list"
    if len(words) > 1 or (verb != "list" and not words):
        raise InvalidRequest("say `qme executors`, `qme executors NAME`, or forget or approve with a NAME")
    async with context.client() as client:
        if verb == "forget":
            await client.forget(words[0], args.pool)
            say(f"{words[0]} is forgotten; a worker that starts makes it known again")
        elif verb == "approve":
            await client.approve(words[0], args.pool)
            say(f"{words[0]} is approved as it stands now")
        else:
            known = [one for one in await client.executors() if _is_meant(one, words, args.pool)]
            if words and not known:
                raise NotFound(f"no executor {words[0]!r} is known; `qme executors` lists them")
            _show_workers(known) if words else _show(known)
    return 0


def match_arguments(parser: Parser) -> None:
    """The command, as for `run`."""
    parser.add_argument("--executor", metavar="NAME", help="as for `qme submit`")
    parser.add_argument("--pool", metavar="NAME", help="as for `qme submit`")
    parser.add_argument("--json", action="store_true", help="the whole explanation as JSON")
    add_command(parser)


async def match(args: argparse.Namespace, context: Context) -> int:
    """Print where a command would go, and on stderr why; exit 6 where it would go nowhere."""
    command = command_of(args)
    async with context.client() as client:
        reply = await client.match(command, executor=args.executor, pool=args.pool)
    if args.json:
        print(reply.model_dump_json(indent=2))
        return 0 if reply.executor else NoExecutorMatches.exit_code
    table = Table([("EXECUTOR", 10), ("POOL", 12), ("WORKERS", 7), ("MATCHES", 20), ("VERDICT", 0)])
    for one in reply.candidates:
        if args.pool not in (None, one.pool):
            continue
        pattern = "(what nobody else takes)" if one.matchstring is None else one.matchstring
        table.row(one.executor, one.pool, str(one.online), pattern, one.verdict)
    say(reply.why)
    return 0 if reply.executor else NoExecutorMatches.exit_code


def _is_meant(one: Known, words: list[str], pool: str | None) -> bool:
    return words[:1] in ([], [one.definition.executor]) and pool in (None, one.definition.pool)


def _show(known: list[Known]) -> None:
    table = Table(
        [
            ("EXECUTOR", 10),
            ("POOL", 12),
            ("STATE", 8),
            ("WORKERS", 7),
            ("BUSY", 7),
            ("ACCOUNT", 10),
            ("MATCHES", 0),
        ]
    )
    for one in known:
        busy = f"{sum(w.active for w in one.workers)}/{sum(w.slots for w in one.workers)}"
        what = one.definition
        pattern = "(what nobody else takes)" if what.matchstring is None else what.matchstring
        table.row(what.executor, what.pool, _state(one), str(len(one.workers)), busy, what.account, pattern)


def _show_workers(known: list[Known]) -> None:
    table = Table(
        [("EXECUTOR", 10), ("POOL", 12), ("WORKER", 16), ("HOST", 12), ("BUSY", 7), ("SEEN", 5), ("STATE", 0)]
    )
    for one in known:
        place = (one.definition.executor, one.definition.pool)
        for worker in one.workers:
            busy = f"{worker.active}/{worker.slots}"
            state = f"paused: {worker.paused}" if worker.paused else "online"
            table.row(*place, worker.worker, worker.host, busy, age(worker.at), state)
        if not one.workers:
            table.row(*place, "-", "-", "-", "-", _state(one))


def _state(one: Known) -> str:
    if not one.approved:
        return "waiting for approval"
    if not one.workers:
        return "offline"
    return "paused" if all(worker.paused for worker in one.workers) else "online"


VERBS = {"executors": Verb(executors_arguments, executors), "match": Verb(match_arguments, match)}

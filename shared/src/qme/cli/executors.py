"""`qme executors` and `match`: who takes which commands."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TextIO

from qme.cli.context import Context, say
from qme.cli.parsing import Arguments, Parser, add_command, command_of
from qme.cli.table import Table, age
from qme.cli.verbs import Verb
from qme.client.executors import Known
from qme.contracts.executors import Heartbeat
from qme.errors import InvalidRequest, NoExecutorMatches, NotFound

#: what an operator may do, and what is said then
_DONE = {
    "approve": "is approved as it stands now",
    "forget": "is forgotten; a worker that starts makes it known again",
    "pause": "is paused: its workers take nothing new from their next heartbeat on",
    "drain": "drains: `qme executors` says when nothing runs any more",
    "resume": "takes tasks again, from its workers' next heartbeat on",
}
_HOLDS = ("pause", "drain")


def executors_arguments(parser: Parser) -> None:
    """A name, or what an operator wants done."""
    parser.lay_out(
        """
        qme executors                              all of them
        qme executors NAME                         the workers of one
        qme executors approve|forget NAME          (operators) let a shared pool's take commands; remove one
        qme executors pause NAME --reason TEXT     (operators) its workers take nothing new, what runs goes on
        qme executors drain NAME --reason TEXT     the same, and they say when nothing runs any more
        qme executors resume NAME
        """
    )
    parser.add_argument("words", nargs="*", metavar="[VERB] [NAME]", help="one of the forms above")
    parser.add_argument("--reason", metavar="TEXT", help="told to those whose tasks wait")
    parser.add_argument("--pool", metavar="NAME", help="the executor of this pool")


async def executors(args: Arguments, context: Context) -> int:
    """List executors, show one's workers, or do to one what operators may."""
    words = list(args.words)
    verb = words.pop(0) if words and words[0] in ("list", *_DONE) else "list"
    if len(words) > 1 or (verb != "list" and not words):
        raise InvalidRequest(f"say `qme executors`, `qme executors NAME`, or {' | '.join(_DONE)} with a NAME")
    if (args.reason is not None) != (verb in _HOLDS):
        raise InvalidRequest(
            f"`qme executors {verb}` "
            + ("needs --reason: it is told to those who wait" if verb in _HOLDS else "takes no --reason")
        )
    async with context.client() as client:
        if verb in _HOLDS:
            await client.pause(words[0], args.reason, pool=args.pool, drain=verb == "drain")
        elif verb in _DONE:
            await client.control.on_executor(verb, words[0], args.pool)
        if verb in _DONE:
            say(f"{words[0]} {_DONE[verb]}")
        else:
            known = [one for one in await client.executors() if _is_meant(one, words, args.pool)]
            if words and not known:
                raise NotFound(f"no executor {words[0]!r} is known; `qme executors` lists them")
            _show_workers(known) if words else show(known)
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


def show(known: Sequence[Known], out: TextIO | None = None) -> None:
    """Write the table of executors."""
    table = Table(
        [
            ("EXECUTOR", 10),
            ("POOL", 12),
            ("STATE", 8),
            ("WORKERS", 7),
            ("BUSY", 7),
            ("ACCOUNT", 10),
            ("MATCHES", 0),
        ],
        out,
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
            table.row(*place, worker.worker, worker.host, busy, age(worker.at), _condition(worker))
            if worker.rules:
                say(f"rules of {worker.worker}: {'; '.join(f'{k} = {v}' for k, v in worker.rules.items())}")
        if not one.workers:
            table.row(*place, "-", "-", "-", "-", _state(one))
        if one.pause is not None:
            say(f"{place[0]}, pool {place[1]}: {one.pause.sentence}; since {age(one.pause.at)}")


def _condition(worker: Heartbeat) -> str:
    if worker.paused is None:
        return "online"
    # What an operator said begins with what it is.
    return worker.paused if worker.pause else f"paused: {worker.paused}"


def _state(one: Known) -> str:
    if not one.approved:
        return "waiting for approval"
    if not one.workers:
        return "offline"
    if one.pause is not None and one.pause.drain:
        return "drained" if all(worker.drained for worker in one.workers) else "draining"
    paused = one.pause is not None or all(worker.paused for worker in one.workers)
    return "paused" if paused else "online"


VERBS = {"executors": Verb(executors_arguments, executors), "match": Verb(match_arguments, match)}

"""What `run` and `submit` can say about a task: the options, and what the client is told of them."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from qme.cli.parsing import Arguments, Parser, count, pair, seconds, size
from qme.client.submission import Options
from qme.contracts.tasks import Outcome
from qme.errors import InvalidRequest

#: outcomes after which a task may be run again by itself
_RETRIED = [one for one in Outcome if one not in (Outcome.SUCCESS, Outcome.CANCELLED)]


def add(parser: Parser) -> None:
    """Add the options."""
    add_option = parser.add_argument
    add_option("-m", "--message", metavar="TEXT", help="a note that is kept with the task")
    add_option("--executor", metavar="NAME", help="the executor that shall run it")
    add_option("--pool", metavar="NAME", help="the pool (account and cluster) that shall run it")
    add_option(
        "-l",
        "--label",
        metavar="KEY=VALUE",
        type=pair,
        action="append",
        default=[],
        help="mark it; repeatable",
    )
    add_option(
        "--env", metavar="NAME[=VALUE]", action="append", default=[], help="set a variable; repeatable"
    )
    add_option("--cwd", metavar="DIR", help="folder it runs in (default: this one, if the worker has it)")
    add_option(
        "--timeout", metavar="TIME", type=seconds, help="end it after this much run time, such as 90 or 2h"
    )
    add_option("--cpus", metavar="N", type=count, default=0, help="set N cpus of its worker aside for it")
    add_option(
        "--mem",
        metavar="SIZE",
        type=size,
        default=0,
        help="and so much memory, such as 500MB or 4GiB; it may use no more",
    )
    add_option(
        "--gpus", metavar="N", type=count, default=0, help="and N GPUs, which CUDA_VISIBLE_DEVICES names"
    )
    add_option(
        "--priority",
        metavar="N",
        type=_priority,
        default=0,
        help="higher ones first (default 0; below: later)",
    )
    add_option("--exclusive", action="store_true", help="let nothing else run beside it on its worker")
    add_option(
        "--notify", dest="notify", action="store_const", const="all", help="have `qme notifier` tell its end"
    )
    add_option(
        "--notify-on",
        dest="notify",
        metavar="OUTCOME,…",
        type=_news,
        help="the same where it ends so, such as failed,timeout",
    )
    add_option(
        "--retries", metavar="N", type=count, default=0, help="run it again if it fails, up to N times"
    )
    add_option(
        "--retry-delay",
        metavar="TIME",
        type=seconds,
        help="before the first retry (default 10s)",
    )
    add_option(
        "--retry-backoff",
        metavar="FACTOR",
        type=_factor,
        help="each delay is so many times the one before (default 2; 1: all alike), at most a day",
    )
    add_option(
        "--retry-on",
        metavar="OUTCOME,…",
        type=_outcomes,
        default=(),
        help="what is run again (default failed,timeout,lost,node_fail)",
    )
    add_option("--group", metavar="NAME", help="@NAME then stands for all tasks of this group")
    for how, when in (
        ("", "these have succeeded"),
        ("-any", "these have ended, well or not"),
        ("-fail", "these have ended without success"),
    ):
        add_option(
            f"--after{how}",
            metavar="ID,…",
            type=_ids,
            action="extend",
            default=[],
            help=f"start it once {when}: ids or @GROUP; repeatable",
        )
    add_option(
        "--key", metavar="KEY", help="the same key gives the same task again, of a list the same tasks"
    )
    add_option(
        "--send",
        metavar="FILE",
        action="append",
        default=[],
        help="lay this file into its folder; repeatable",
    )
    add_option("--stdin", metavar="FILE", help="what it reads from stdin; - sends ours (default: nothing)")


def read(args: Arguments) -> Options:
    """Give the options to the client. Raises InvalidRequest for files and variables that aren't there."""
    return Options(
        message=args.message,
        executor=args.executor,
        pool=args.pool,
        labels=dict(args.label) | ({"notify": args.notify} if args.notify else {}),
        env=dict(_variable(text) for text in args.env),
        cwd=args.cwd,
        timeout=args.timeout,
        cpus=args.cpus,
        mem=args.mem,
        gpus=args.gpus,
        exclusive=args.exclusive,
        priority=args.priority,
        retries=args.retries,
        retry_delay=args.retry_delay,
        retry_backoff=args.retry_backoff,
        retry_on=args.retry_on,
        group=args.group,
        after=args.after,
        after_any=args.after_any,
        after_fail=args.after_fail,
        key=args.key,
        send=args.send,
        stdin=None if args.stdin is None else _content(args.stdin),
    )


def _ids(text: str) -> list[str]:
    return [word for word in text.replace(",", " ").split() if word]


def _factor(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _priority(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _outcomes(text: str) -> tuple[Outcome, ...]:
    words = [word.strip() for word in text.split(",")]
    unknown = [word for word in words if word not in _RETRIED]
    if unknown:
        names = ", ".join(_RETRIED)
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} can't be retried; choose from {names}")
    return tuple(Outcome(word) for word in dict.fromkeys(words))


def _news(text: str) -> str:
    unknown = [word for word in text.split(",") if word not in {*Outcome, "all"}]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no outcome; choose from {', '.join(Outcome)}")
    return text


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name:
        raise InvalidRequest(f"--env {text!r} is not of the form NAME=VALUE or NAME")
    if not equals and name not in os.environ:
        raise InvalidRequest(f"--env {name}: no such variable here; NAME=VALUE sets one")
    return name, value if equals else os.environ[name]


def _content(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"can't read --stdin {name}: {error.strerror}") from error

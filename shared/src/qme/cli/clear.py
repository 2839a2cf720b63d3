"""`qme clear`: remove ended tasks for good. Asks on a terminal first."""

from __future__ import annotations

import sys

from qme.cli.change import add_admin, report
from qme.cli.context import Context, say
from qme.cli.parsing import Arguments, Parser, seconds
from qme.cli.verbs import Verb
from qme.client.clearing import selection
from qme.errors import InvalidRequest


def arguments(parser: Parser) -> None:
    """Which tasks, and how sure one is."""
    parser.add_argument(
        "targets", nargs="*", metavar="EXECUTOR|ID|@GROUP", help="default: all of yours that have ended"
    )
    parser.add_argument(
        "--older-than", metavar="TIME", type=seconds, help="that ended this long ago, such as 30d"
    )
    parser.add_argument("--cancel", action="store_true", help="also those that run: end them first")
    parser.add_argument(
        "--force", action="store_true", help="don't ask; take records that can't be read, too"
    )
    parser.add_argument("--user", metavar="NAME", help="tasks of this user (operators)")
    add_admin(parser)


async def clear(args: Arguments, context: Context) -> int:
    """Clear tasks and say how many."""
    async with context.client() as client:
        tasks = await selection(
            client,
            args.targets,
            user=args.user,
            older_than=args.older_than,
            running=args.cancel,
            unreadable=args.force,
        )
        if not tasks:
            say("there is nothing to clear")
            return 0
        if not args.force and not _agrees(len(tasks)):
            say("nothing was cleared")
            return 0
        results = await client.control.clear(tasks, cancel=args.cancel, force=args.force, admin=args.admin)
    bad = [result for result in results if result.error is not None]
    cleared = len(results) - len(bad)
    if cleared:
        say(f"cleared {cleared} task{'' if cleared == 1 else 's'}")
    return report(bad, None)


def _agrees(count: int) -> bool:
    what = f"{count} task{'' if count == 1 else 's'}"
    if not sys.stdin.isatty():
        raise InvalidRequest(f"this would clear {what}, and there is nobody to ask; --force does it")
    print(f"Clear {what} with all output for good? [y/N] ", end="", file=sys.stderr)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


VERBS = {"clear": Verb(arguments, clear)}

"""Which tasks a list, a search or an export means: the options, and what the client is told of them."""

from __future__ import annotations

from typing import Any

from qme.cli.parsing import Arguments, Parser, pair
from qme.client import AsyncClient, Wanted
from qme.contracts.tasks import Outcome, Status
from qme.errors import InvalidRequest

_WORDS = {*Status, *Outcome}


def add(parser: Parser) -> None:
    """Add the options by which tasks are chosen."""
    parser.add_argument(
        "--status", metavar="WORD", action="append", default=[], help="a status or an outcome; repeatable"
    )
    parser.add_argument(
        "--label", metavar="KEY=VALUE", type=pair, action="append", default=[], help="with this label"
    )
    add_whose(parser)


def add_whose(parser: Parser) -> None:
    """Add the options that say whose tasks are meant."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--user", metavar="NAME", help="tasks of this user instead of your own")
    group.add_argument("--all-users", action="store_true", help="everybody's tasks")


def check(args: Arguments) -> None:
    """Look at the words, before a bus is looked for. Raises InvalidRequest."""
    unknown = [word for word in args.status if word not in _WORDS]
    if unknown:
        raise InvalidRequest(f"no status {unknown[0]!r}; there are: {', '.join(sorted(_WORDS))}")


def user(client: AsyncClient, args: Arguments) -> str | None:
    """Name the user whose tasks are meant; None for everybody's."""
    return None if args.all_users else args.user or client.user


def wanted(client: AsyncClient, args: Arguments, **more: Any) -> Wanted:
    """Give the options to the client."""
    return Wanted(user=user(client, args), statuses=frozenset(args.status), labels=dict(args.label), **more)

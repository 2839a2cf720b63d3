"""`qme auth`: who may use a site's bus. For administrators; it talks to no bus."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from qme.cli.context import Context, say
from qme.cli.parsing import Arguments, Parser, seconds
from qme.cli.table import Table
from qme.cli.verbs import Verb
from qme.contracts.rights import Role
from qme.errors import InvalidRequest

if TYPE_CHECKING:
    from qme.auth.book import Book

_FORMS = """\
qme auth init                              make the folder with the server's include file; again after an upgrade
qme auth add ROLE NAME [--team TEAM]       a new key, beside those that NAME has; prints its file
qme auth add worker NAME --executor E      a person's own worker; --pool P: that of a shared pool
qme auth revoke NAME [--key END | --old]   take keys away: all, one, or all but the newest
qme auth add ROLE NAME --expires 90d       a key that `expire` takes away once its time is over
qme auth expire                            take those away and print them: run it daily, and reload the server
qme auth show                              who has which role, since when
"""
_RELOAD = "the server takes it over with: nats-server --signal reload=PID (no connection of others is lost)"
_AGAIN = "the first worker of a pool: reload twice, a second apart; NATS connects a new account at the second"


def auth_arguments(parser: Parser) -> None:
    """What to do, for whom."""
    parser.lay_out(_FORMS)
    parser.add_argument("verb", choices=("init", "add", "revoke", "expire", "show"), metavar="VERB")
    parser.add_argument("words", nargs="*", metavar="ROLE NAME", help=f"roles: {', '.join(Role)}")
    parser.add_argument("--dir", type=Path, metavar="DIR", help="the folder (default: HOME/auth)")
    parser.add_argument("--team", default="qme", help="teams see nothing of each other (default: qme)")
    parser.add_argument("--executor", metavar="NAME", help="what a worker runs")
    parser.add_argument("--pool", metavar="NAME", help="a worker's shared pool; without: its person's own")
    parser.add_argument("--expires", metavar="TIME", type=seconds, help="how long a new key is good: 90d")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--key", metavar="END", help="the key that ends so")
    which.add_argument("--old", action="store_true", help="all but the newest")


def auth(args: Arguments, context: Context) -> int:
    """Change the book of identities, or show it."""
    from qme.auth.book import Book  # key pairs take their time to import

    book = Book((args.dir or context.settings.home / "auth").absolute())
    words: list[str] = args.words
    wanted = {"init": 0, "show": 0, "expire": 0, "add": 2, "revoke": 1}[args.verb]
    if len(words) != wanted:
        raise InvalidRequest(f"say `qme auth {args.verb}{' ROLE NAME' if wanted == 2 else ' NAME' * wanted}`")
    if args.expires is not None and args.verb != "add":
        raise InvalidRequest("--expires goes with `qme auth add`")
    match args.verb:
        case "init":
            book.start()
            print(book.include)
            line = f'include "{book.folder.name}/{book.include.name}"'
            say(
                f"a server's configuration beside that folder takes it in with: {line} (NATS wants it relative)"
            )
        case "add":
            place = _place(args, words[1])
            print(book.add(args.team, _role(words[0]), words[1], place, lasts=args.expires))
            say(_RELOAD if place is None else f"{_RELOAD}; {_AGAIN}")
        case "revoke":
            for entry in book.revoke(args.team, words[0], key=args.key, old=args.old):
                say(f"revoked: {entry.role} {entry.name}, key {entry.key[-8:]}")
            say(_RELOAD)
        case "expire":
            for entry in book.expire():
                print(f"{entry.team} {entry.role} {entry.name} {entry.key[-8:]}")
        case "show":
            _show(book, context.settings.ends_warning)
    return 0


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise InvalidRequest(f"there is no role {text!r}; there are {', '.join(Role)}") from None


def _place(args: Arguments, name: str) -> tuple[str, str] | None:
    from qme.contracts.subjects import personal_pool, token

    if args.executor is None:
        return None
    return args.executor, token(args.pool) if args.pool else personal_pool(name)


def _show(book: Book, warning: float) -> None:
    from qme.bus.expiry import End

    now = datetime.now(UTC)
    table = Table(
        [
            ("TEAM", 8),
            ("ROLE", 9),
            ("NAME", 12),
            ("EXECUTOR", 8),
            ("POOL", 12),
            ("KEY", 8),
            ("SINCE", 24),
            ("ENDS", 4),
        ]
    )
    for one in book.entries():
        table.row(
            one.team,
            one.role,
            one.name,
            one.executor or "-",
            one.pool or "-",
            one.key[-8:],
            one.since,
            one.ends or "when revoked",
        )
        if one.ends is not None:
            end = End(f"key {one.key[-8:]} of {one.role} {one.name}", datetime.fromisoformat(one.ends))
            if end.within(warning, now):
                say(end.sentence(now))


VERBS = {"auth": Verb(auth_arguments, auth)}

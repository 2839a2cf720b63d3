"""`qme config`: settings, where each value comes from, and changing them. Needs no bus."""

from __future__ import annotations

from collections.abc import Iterable

from qme.cli.context import Context, say
from qme.cli.parsing import Arguments, Parser
from qme.cli.table import Table
from qme.cli.verbs import Verb
from qme.errors import InvalidRequest
from qme.settings import Origin, load_executor_settings, set_value

#: names the general settings where an executor's name is expected
GENERAL = "qme"


def arguments(parser: Parser) -> None:
    """What to show or to set."""
    parser.add_argument("words", nargs="*", metavar="show [EXECUTOR] | path", help="default: show")
    parser.add_argument(
        "--set",
        nargs=3,
        metavar=("EXECUTOR", "KEY", "VALUE"),
        help=f"write into your config ({GENERAL}: general)",
    )


def config(args: Arguments, context: Context) -> int:
    """Show settings with their origin, print the config file's path, or set one value."""
    home = context.settings.home
    match args.words, args.set:
        case [], [executor, key, value]:
            set_value(home, None if executor == GENERAL else executor, key, value)
            say(f"{executor} {key} is set in {home / 'config'}")
        case ["path"], None:
            print(home / "config")
        case [] | ["show"], None:
            _show(context.loaded.rows())
        case ["show", executor], None:
            from qme.executor.registry import load  # imports the executor's package

            _show(load_executor_settings(executor, load(executor).settings_type, home=home).rows())
        case _:
            raise InvalidRequest(
                "say `qme config show [EXECUTOR]`, `qme config path` or `qme config --set …`"
            )
    return 0


def _show(rows: Iterable[tuple[str, str, Origin]]) -> None:
    table = Table([("SETTING", 18), ("VALUE", 32), ("FROM", 0)])
    for key, value, origin in rows:
        table.row(key, value or "-", str(origin))


VERBS = {"config": Verb(arguments, config)}

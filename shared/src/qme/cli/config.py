"""`qme config`: settings, where each value comes from, and changing them. Needs no bus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from qme.cli.context import Context, say
from qme.cli.parsing import Arguments, Parser
from qme.cli.table import Table
from qme.cli.verbs import Verb
from qme.errors import InvalidRequest
from qme.settings import Loaded, Origin, load_executor_settings, set_value

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
            _set(context, executor, key, value)
            say(f"{executor} {key} is set in {home / 'config'}")
        case ["path"], None:
            print(home / "config")
        case [] | ["show"], None:
            from qme.executor import registry

            rows = [*context.loaded.rows()]
            for executor in registry.names():
                rows += _rows(context, executor)
            _show(rows)
        case ["show", executor], None:
            _show(_rows(context, executor))
        case _:
            raise InvalidRequest(
                "say `qme config show [EXECUTOR]`, `qme config path` or `qme config --set …`"
            )
    return 0


def _set(context: Context, executor: str, key: str, value: str) -> None:
    """Write a value that was checked: a general one by the writer, an executor's by its own settings."""
    if executor == GENERAL:
        set_value(context.settings.home, None, key, value)
        return
    _of_executor(context, executor, {key.lower().replace("-", "_"): value})
    set_value(context.settings.home, executor, key, value)


def _of_executor(context: Context, name: str, flags: Mapping[str, str] | None = None) -> Loaded[Any]:
    """Load an executor's settings; imports its package. Raises NotFound for one that is not installed here."""
    from qme.executor import registry  # pydantic

    kind = registry.load(name).settings_type
    return load_executor_settings(name, kind, home=context.settings.home, flags=flags)


def _rows(context: Context, executor: str) -> Iterator[tuple[str, str, Origin]]:
    for key, value, origin in _of_executor(context, executor).rows():
        yield f"{executor}.{key}", value, origin


def _show(rows: Iterable[tuple[str, str, Origin]]) -> None:
    table = Table([("SETTING", 18), ("VALUE", 32), ("FROM", 0)])
    for key, value, origin in rows:
        table.row(key, value or "-", str(origin))


VERBS = {"config": Verb(arguments, config)}

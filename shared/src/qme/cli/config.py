"""`qme config`: settings, where each value comes from, and changing them. Needs no bus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from qme.cli.context import Context, say
from qme.cli.parsing import Arguments, Parser
from qme.cli.table import Table
from qme.cli.verbs import Verb
from qme.errors import InvalidRequest, NotFound
from qme.settings import (
    ExecutorSettings,
    Origin,
    Settings,
    check_executor_value,
    load_executor_settings,
    options,
    set_value,
)

#: names the general settings where an executor's name is expected
GENERAL = "qme"


class _Row(NamedTuple):
    """A setting as it is shown."""

    key: str
    value: str
    origin: Origin
    meaning: str


def arguments(parser: Parser) -> None:
    """What to show or to set."""
    parser.lay_out(
        """
        qme config show [NAME]                  all settings, an executor's, or one
        qme config path                         the file that --set writes
        qme config --set EXECUTOR KEY VALUE     such as --set shell slots 4
        qme config --set qme KEY VALUE          a general one, such as --set qme idle_stop 1h
        """
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="one of the forms above (default: show)")
    parser.hint = f"such as `qme config --set {GENERAL} idle_stop 1h`; {parser.hint}"
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
            whose = "what runs already" if executor == GENERAL else "the worker"
            say(f"{executor} {key} is set in {home / 'config'}; {whose} takes it from its next start on")
        case ["path"], None:
            print(home / "config")
        case [] | ["show"], None:
            _show([*_general(context), *_of_executors(context)])
        case ["show", name], None:
            _show(_named(context, name))
        case _:
            raise InvalidRequest(
                "say `qme config show [NAME]`, `qme config path` or `qme config --set EXECUTOR KEY VALUE`, "
                f"such as `qme config --set {GENERAL} idle_stop 1h`"
            )
    return 0


def _set(context: Context, executor: str, key: str, value: str) -> None:
    """Write a value that was checked: a general one by the writer, an executor's by its own settings."""
    if executor == GENERAL:
        set_value(context.settings.home, None, key, value)
        return
    if _key(executor) in options(Settings):
        raise InvalidRequest(
            f"{executor} is a general setting: `qme config --set {GENERAL} {executor} VALUE`"
        )
    kind = _settings_type(executor)
    key = _key(key)
    check_executor_value(executor, kind, key, value)
    load_executor_settings(
        executor, kind, home=context.settings.home, flags={key: value}
    )  # beside the others
    set_value(context.settings.home, executor, key, value)


def _settings_type(executor: str) -> type[ExecutorSettings]:
    """Import an executor's package for its settings. Raises NotFound for one that is not installed here."""
    from qme.executor import registry  # pydantic

    kind: type[ExecutorSettings] = registry.load(executor).settings_type
    return kind


def _general(context: Context) -> Iterator[_Row]:
    for (key, value, origin), known in zip(context.loaded.rows(), options(Settings).values(), strict=True):
        yield _Row(key, value, origin, known.summary)


def _of_executors(context: Context, *names: str) -> Iterator[_Row]:
    """Give the settings of these executors, or of all that are installed."""
    from qme.executor import registry  # pydantic

    for name in names or registry.names():
        kind = _settings_type(name)
        loaded = load_executor_settings(name, kind, home=context.settings.home)
        for (key, value, origin), known in zip(loaded.rows(), options(kind).values(), strict=True):
            yield _Row(f"{name}.{key}", value, origin, known.summary)


def _named(context: Context, name: str) -> list[_Row]:
    """Give what a name stands for: ``lease``, ``shell`` (all of an executor's), ``shell.slots``, ``slots`` (of all)."""
    from qme.executor import registry  # pydantic

    key = _key(name)
    if name in registry.names():
        return [*_of_executors(context, name)]
    rows = [*_general(context), *_of_executors(context)]
    found = [row for row in rows if key in (row.key, row.key.rpartition(".")[2])]
    if not found:
        import difflib  # only for people's mistakes

        near = difflib.get_close_matches(key, [*registry.names(), *(row.key for row in rows)], 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else "`qme config show` lists all"
        raise NotFound(f"no setting and no executor {name!r} here; {hint}")
    return found


def _show(rows: Iterable[_Row]) -> None:
    """Print rows: with a column for the meaning, and on a terminal, which is too narrow for it, a line below."""
    columns = [("SETTING", 18), ("VALUE", 32), ("FROM", 0)]
    table = Table(columns)
    if not table.is_terminal:
        table = Table([*columns, ("MEANING", 0)])
    for row in rows:
        cells = (row.key, row.value or "-", str(row.origin))
        if not table.is_terminal:
            table.row(*cells, row.meaning)
            continue
        table.row(*cells)
        if row.meaning:
            print(f"    {row.meaning}")


def _key(name: str) -> str:
    return name.lower().replace("-", "_")


VERBS = {"config": Verb(arguments, config)}

"""`qme executor new NAME` and `check NAME`: for those who write executors."""

from __future__ import annotations

import tempfile
from pathlib import Path

from qme.cli.context import Context, say
from qme.cli.parsing import Arguments, Parser
from qme.cli.table import Table
from qme.cli.verbs import Verb
from qme.errors import InvalidRequest


def arguments(parser: Parser) -> None:
    """What to do, with which executor."""
    parser.lay_out(
        """
        qme executor new NAME [--in DIR]      write a package with an executor, its tests and its page
        qme executor check NAME [--succeeds CMD] [--fails CMD] [--stays CMD] [--leaves CMD]
                                              try one that is installed here, on a bus in memory
        """
    )
    parser.add_argument("verb", choices=["new", "check"], help="one of the forms above")
    parser.add_argument("name", metavar="NAME", help="the executor's name")
    parser.add_argument("--in", dest="folder", metavar="DIR", default=".", help="write the package below it")
    for option, what in (
        ("--succeeds", "ends well"),
        ("--fails", "fails"),
        ("--stays", "runs until it is cancelled"),
        ("--leaves", "is not for it"),
    ):
        parser.add_argument(
            option, metavar="CMD", action="append", default=[], help=f"a command that {what}; repeatable"
        )


async def executor(args: Arguments, context: Context) -> int:
    """Write a package, or check an executor."""
    if args.verb == "new":
        from qme.cli.scaffold import write  # only here

        folder = write(args.name, Path(args.folder))
        say(f"wrote {folder}; its README.md says what to do next")
        return 0
    return await _check(args, context)


async def _check(args: Arguments, context: Context) -> int:
    from qme.client.words import argv_of
    from qme.conformance.checks import ALL, NotTried, Trial
    from qme.executor import registry
    from qme.observe.logging import configure
    from qme.settings import load_executor_settings

    configure("error", "console")
    kind = registry.load(args.name)
    settings = load_executor_settings(args.name, kind.settings_type, home=context.settings.home).settings
    table = Table([("CHECK", 20), ("RESULT", 9), ("WHY", 20)])
    failed = 0
    for check in ALL:
        with tempfile.TemporaryDirectory(prefix="qme-check-") as home:
            trial = Trial(
                executor=kind,
                settings=settings,
                home=Path(home),
                succeed=[argv_of(line) for line in args.succeeds],
                fail=[argv_of(line) for line in args.fails],
                stay=[argv_of(line) for line in args.stays],
                leaves=[argv_of(line) for line in args.leaves],
            )
            result, why = "ok", ""
            try:
                await check(trial)
            except NotTried as reason:
                result, why = "not tried", str(reason)
            except TimeoutError:
                result, why = "FAILED", f"nothing came within {trial.patience:g} s"
            except (AssertionError, InvalidRequest) as error:
                result, why = "FAILED", str(error)
        failed += result == "FAILED"
        table.row(check.__name__.replace("_", " "), result, why)
    return 1 if failed else 0


VERBS = {"executor": Verb(arguments, executor)}

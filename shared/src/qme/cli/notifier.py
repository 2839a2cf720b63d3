"""`qme notifier`: tells you how your tasks ended."""

from __future__ import annotations

from qme.cli.context import Context
from qme.cli.parsing import Arguments, Parser
from qme.cli.verbs import Verb


def arguments(parser: Parser) -> None:
    """None; the settings say who is told, and of what."""
    parser.end_with(
        """
        qme config --set qme notify_command 'mail -s "$QME_TEXT" me'     or notify_url https://…
        qme config --set qme notify_on failed,timeout                    unset: of tasks with --notify only
        """
    )


def notifier(_: Arguments, context: Context) -> int:
    """Tell until it is stopped."""
    from qme.notifier.service import run_notifier

    run_notifier(context.settings)
    return 0


VERBS = {"notifier": Verb(arguments, notifier)}

"""The table of verbs: which file has each one, and its line in the help. Imports none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from qme.cli.context import Context
    from qme.cli.parsing import Parser


class Verb(NamedTuple):
    """A verb: adds its arguments to a parser, and runs (perhaps as a coroutine) to an exit code."""

    arguments: Callable[[Parser], None]
    run: Callable[[Any, Context], Any]


class Entry(NamedTuple):
    """Where a verb is found.

    `strict`: the exit code is a command's own, so qme's own failures are 125. `service`: nobody is there to be told
    hints, its stderr is a log.
    """

    module: str
    summary: str
    strict: bool = False
    service: bool = False


#: each module has a dict ``VERBS`` from name to `Verb`
VERBS = {
    "run": Entry("run", "run a command: submit it, show its output, exit with its code", strict=True),
    "submit": Entry("submit", "submit a command and print the task's id"),
    "ls": Entry("show", "list tasks, newest first"),
    "top": Entry("top", "watch executors and tasks in a terminal"),
    "get": Entry("show", "show a task as JSON (the last one without an id)"),
    "search": Entry("show", "find tasks by a regular expression"),
    "logs": Entry("logs", "print a task's output; -f follows it"),
    "wait": Entry("wait", "wait until tasks have ended"),
    "why": Entry("why", "tell what a task waits for"),
    "cancel": Entry("change", "end tasks"),
    "rerun": Entry("change", "start another attempt of a task"),
    "clear": Entry("clear", "remove ended tasks with their output"),
    "exec": Entry("act", "list or run the actions of a task"),
    "events": Entry("history", "show what became of a task, or who asked for what"),
    "export": Entry("history", "write records as JSON lines"),
    "workflow": Entry("workflow", "check or draw a workflow's file"),
    "match": Entry("executors", "explain which executor would take a command"),
    "executors": Entry("executors", "list executors and their workers; pause, drain, approve"),
    "auth": Entry("auth", "who may use a site's bus: add, revoke, show"),
    "executor": Entry("author", "write an executor of your own, or check one"),
    "config": Entry("config", "show or change settings"),
    "worker": Entry("stack", "run an executor's worker", service=True),
    "notifier": Entry(
        "notifier", "tell you how your tasks ended: a command of yours, a webhook", service=True
    ),
    "exporter": Entry("exporter", "serve metrics of the whole bus to Prometheus", service=True),
    "up": Entry("stack", "start the local stack"),
    "down": Entry("stack", "stop the local stack"),
    "status": Entry("stack", "show the local stack"),
    "backup": Entry("backup", "write the whole state of the bus into a folder"),
    "restore": Entry("backup", "put a backup back onto a bus"),
    "start": Entry("start", "show tasks and executors in a browser"),
    "doctor": Entry("doctor", "check settings, bus, submitter and workers"),
    "completions": Entry("completions", "print what lets a shell complete qme: bash, zsh, fish"),
    "version": Entry("about", "print the version"),
}

#: what other programs call these verbs: for the hint to those who type it
SYNONYMS = {
    "ps": "ls",
    "list": "ls",
    "status-of": "ls",
    "stop": "down",
    "dashboard": "start",
    "rm": "clear",
    "delete": "clear",
    "kill": "cancel",
    "show": "get",
    "tail": "logs",
}

HELP = """\
qme ("queue me"): hand a command to whichever machine can run it, and see what became of it.

usage: qme [--SETTING VALUE]... VERB [ARGUMENTS]

{verbs}

`qme VERB --help` tells more. An ID may be a unique beginning, or a unique end of 4 or more digits; `last` is
your last task. Settings: `qme config show`.
"""


def short_help() -> str:
    """Give the help that `qme` alone prints."""
    width = max(map(len, VERBS)) + 2
    return HELP.format(verbs="\n".join(f"  {name:{width}}{entry.summary}" for name, entry in VERBS.items()))

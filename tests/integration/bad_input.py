"""The table of mistakes: what somebody types or has set up wrongly, the exit code, and words of the one line they get.

Data only; `test_bad_input.py` runs it, `python -m tests.integration.bad_input` prints docs/mistakes.md. `{…}` in a word
or a variable is filled in by the test: a running task, an ended one, files and folders that it has prepared.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Mistake:
    """One mistake on the command line, or in what surrounds it, and how qme answers."""

    what: str
    words: tuple[str, ...]
    code: int
    says: str  #: regular expression that the line must match
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: str | None = None


def row(what: str, words: str, code: int, says: str, stdin: str | None = None, **env: str) -> Mistake:
    """Write a mistake down; `words` is split at spaces, and `_` stands for an empty word."""
    return Mistake(what, tuple("" if word == "_" else word for word in words.split()), code, says, env, stdin)


#: need nothing running: no bus is started for them
WITHOUT_BUS: tuple[Mistake, ...] = (
    row("a verb that does not exist", "sumbit true", 2, "submit"),
    row("submit without a command", "submit", 2, "command"),
    row("run without a command", "run", 125, "command"),
    row("run of an empty word", "run _", 125, "empty"),
    row("submit of an empty word", "submit _", 2, "empty"),
    row("an option that does not exist", "submit --frobnicate true", 2, "frobnicate"),
    row("a timeout that is none", "submit --timeout banana true", 2, "banana"),
    row("a negative timeout", "submit --timeout -5 true", 2, "timeout"),
    row("a negative number of retries", "submit --retries -1 true", 2, "retries"),
    row("an environment variable without =", "submit --env NOTHING true", 2, "NOTHING"),
    row("a label without =", "submit --label nothing true", 2, "nothing"),
    row("a file to send that is missing", "submit --send {missing} true", 2, "missing"),
    row("files to send that are too large", "submit --send {big} true", 2, "512"),
    row("a file for standard input that is missing", "submit --stdin {missing} true", 2, "missing"),
    row("a list of commands that is missing", "submit --file {missing}", 2, "missing"),
    row("a regular expression that is none", "search (", 2, "expression"),
    row("a wait limit that is none", "wait --timeout banana {uuid} {uuid}", 2, "banana"),
    row("a status that does not exist", "ls --status sleeping", 2, "sleeping"),
    row("a NUL byte in a command", "submit --file -", 2, "NUL", stdin="echo a\0b\n"),
    row("the config file is garbage", "config show", 2, "{garbage}/config", QME_HOME="{garbage}"),
    row("a setting with a bad value", "config show", 2, "QME_LEASE", QME_LEASE="soon"),
    row("a setting that does not exist, in the file", "config show", 2, "nats_ulr", QME_HOME="{typo}"),
    row("config --set of an executor that is not installed", "config --set nosuch slots 3", 3, "nosuch"),
    row("config --set of a key that does not exist", "config --set shell slotz 3", 2, "slotz"),
    row("config --set of a bad value", "config --set shell slots many", 2, "many"),
    row("a worker for an executor that is not installed", "worker nosuch", 3, "nosuch"),
    row("the address of the bus is no address", "ls", 2, "QME_NATS_URL", QME_NATS_URL="http://x y"),
    row("nobody listens at the bus's address", "ls", 5, "{dead}", QME_NATS_URL="nats://{dead}"),
    row("… and for run", "run true", 125, "{dead}", QME_NATS_URL="nats://{dead}"),
    row(
        "a credentials file that is missing",
        "ls",
        2,
        "missing",
        QME_NATS_URL="{url}",
        QME_NATS_CREDS="{missing}",
    ),
    row(
        "a credentials file that others may read",
        "ls",
        2,
        "chmod 600",
        QME_NATS_URL="{url}",
        QME_NATS_CREDS="{open}",
    ),
    row(
        "a credentials file that is garbage", "ls", 2, "{junk}", QME_NATS_URL="{url}", QME_NATS_CREDS="{junk}"
    ),
    row("a wrong password", "ls", 4, "credentials", QME_NATS_URL="{url}", QME_NATS_CREDS="{wrong}"),
    row("no credentials", "ls", 4, "credentials", QME_NATS_URL="{url}"),
    row("a site without a local stack, no address set", "ls", 5, "QME_NATS_URL", QME_EMBEDDED="false"),
    row("QME_HOME is a file", "ls", 2, "{a_file}", QME_HOME="{a_file}"),
    row("QME_HOME can't be written", "ls", 5, "{read_only}", QME_HOME="{read_only}/home"),
    row("the disk under QME_HOME is full", "ls", 5, "{full}", QME_HOME="{full}/home"),
    row(
        "the nats-server program is missing",
        "ls",
        5,
        "missing",
        QME_HOME="{empty}",
        QME_NATS_SERVER="{missing}",
    ),
    row(
        "the nats-server program is something else",
        "ls",
        5,
        "true",
        QME_HOME="{empty}",
        QME_NATS_SERVER="/bin/true",
    ),
)

#: on a running stack, where a task runs ({running}) and one has ended ({ended})
ON_A_STACK: tuple[Mistake, ...] = (
    row("an id that nobody has", "get shell-01990000-0000-7000-8000-000000000000", 3, "no such task"),
    row("an id that is no id", "get banana", 3, "banana"),
    row("an end of an id that is too short", "get f", 3, "4"),
    row("a beginning that several ids have", "get shell-0", 2, "more than one"),
    row("wait for a task that does not exist", "wait banana", 125, "banana"),
    row("wait for two that do not exist", "wait banana apple", 3, "banana"),
    row("wait runs out, one task", "wait --timeout 0.2 {running}", 125, "timed out"),
    row("wait runs out, several tasks", "wait --timeout 0.2 {running} {ended}", 9, "timed out"),
    row("logs of a task that does not exist", "logs banana", 3, "banana"),
    row("cancel of a task that does not exist", "cancel banana", 3, "banana"),
    row("an executor that does not exist", "submit --executor nosuch true", 6, "nosuch"),
    row("a pool that does not exist", "submit --pool nosuch true", 6, "nosuch"),
    row("run on a pool that does not exist", "match --pool nosuch true", 6, "nosuch"),
    row("the actions of an executor that does not exist", "exec nosuch", 3, "nosuch"),
    row("an action that does not exist", "exec {ended} frobnicate", 2, "frobnicate"),
    row("rerun of a task that runs", "rerun {running}", 2, "cancel"),
    row("clear of a task that runs", "clear {running} --force", 2, "--cancel"),
    row("clear without --force where nobody can be asked", "clear {ended}", 2, "--force"),
    row("a working folder that is missing", "run --cwd {missing} true", 125, "missing"),
    row("a key used for another command", "submit --key {key} false", 2, "key"),
    row("a record that can't be read", "get {corrupt}", 1, "can't be read"),
    row("a second stack", "up", 1, "already"),
    row("a second worker on the same spool", "worker shell", 1, "spool .*QME_LOCAL_DIR"),
    row("forget of an executor that does not exist", "executors forget nosuch", 6, "nosuch"),
)


def page() -> str:
    """The documentation page of this table."""
    lines = [
        "# Mistakes, and what qme says",
        "",
        "Every row is run by `make test-integration`: the exit code is as given, stderr holds one line that names the",
        "cause, nothing is printed on stdout, no traceback appears, and nothing is lost. This page is printed by",
        "`python -m tests.integration.bad_input`.",
        "",
        "| # | mistake | exit code |",
        "|---|---|---|",
    ]
    rows = (*WITHOUT_BUS, *ON_A_STACK)
    lines += [f"| {number} | {mistake.what} | {mistake.code} |" for number, mistake in enumerate(rows, 1)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())

"""The environment of a command. Pure: reads no environment itself."""

from __future__ import annotations

from collections.abc import Mapping

from qme.executor.keeper.proc import MARKER

#: the worker's own affairs: its settings and credentials, and what its service manager told it alone
_PREFIXES = ("QME_", "NATS_", "LISTEN_", "WATCHDOG_")
_NAMES = frozenset(
    {
        "CREDENTIALS_DIRECTORY",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "MAINPID",
        "MANAGERPID",
        "NOTIFY_SOCKET",
        "SYSTEMD_EXEC_PID",
    }
)
#: where and how deep the shell was from which the worker was started, or which read a login's environment
OF_A_SHELL = frozenset({"PWD", "OLDPWD", "SHLVL", "_"})


def build_environment(
    own: Mapping[str, str],
    task: Mapping[str, str],
    *,
    taskid: str,
    uuid: str,
    attempt: int,
    cwd: str | None = None,
) -> dict[str, str]:
    """Give a command its environment: the worker's `own` without the worker's secrets, then the `task`'s, then ours.

    ``QME_TASK_ID=<uuid>.<attempt>`` marks every process of the attempt, and can't be overridden: the keeper finds
    stray processes by it. ``QME_UID`` is the task's id as people see it. ``PWD`` is the folder `cwd` that the command
    starts in, where one is given; what a shell told the worker of itself is nothing to the command.
    """
    dropped = _NAMES | OF_A_SHELL
    cleaned = {k: v for k, v in own.items() if k not in dropped and not k.startswith(_PREFIXES)}
    if cwd is not None:
        cleaned["PWD"] = cwd
    return {**cleaned, **task, MARKER: f"{uuid}.{attempt}", "QME_UID": taskid}

"""The shell executor: runs commands on the worker's own host. It takes what no other executor matches.

A command runs exactly as its words were given, or, where the spec says so, as one word by /bin/sh.
"""

from __future__ import annotations

import os
import pwd
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime

from qme.contracts.tasks import TaskSpec
from qme.executor import Executor, ExecutorSettings, Result, Supply, Task, capture, of_host, option, optional
from qme.executor.environment import OF_A_SHELL
from qme.executor.workplace import prepare, ready
from qme.settings import BOOLEAN, TEXT, choice, integer, size
from qme.settings.table import account

#: seconds within which a login shell has to tell its environment
LOGIN_PATIENCE = 60.0
#: by their paths: a task's own PATH must not say what stands before its command
_NICE = shutil.which("nice") or "nice"
_IONICE = shutil.which("ionice") or "ionice"
_STANDS_BACK: dict[str, tuple[str, ...]] = {
    "none": (),
    "low": (_IONICE, "-c", "2", "-n", "7", "--"),
    "idle": (_IONICE, "-c", "3", "--"),
}


@dataclass(frozen=True, kw_only=True)
class ShellSettings(ExecutorSettings):
    """Settings of the shell executor."""

    nice: int = option(0, integer(0, 19), "commands run with this niceness")
    ionice: str = option("none", choice("none", "low", "idle"), "how far commands stand back at the disks")
    cpus: int | None = optional(
        integer(1, 100_000), "cpus for tasks that ask for some; unset: those of this host"
    )
    mem: int | None = optional(size(), "memory for tasks that ask for some; unset: that of this host")
    gpus: str = option("auto", TEXT, "GPUs for tasks that ask: names with commas, none, or auto (those here)")
    login_shell: bool = option(False, BOOLEAN, "commands get the environment of a login shell")


class ShellExecutor(Executor[ShellSettings]):
    """Runs commands on this host."""

    name = "shell"
    version = "1"
    fields = ("pwd", "returncode", "pid", "maxrss_kb", "utime", "stime", "output_bytes", "error_bytes")
    settings_type = ShellSettings

    def __init__(self, settings: ShellSettings) -> None:
        super().__init__(settings)
        self._login: dict[str, str] = {}
        self._account = account()

    def supply(self) -> Supply:
        """What this host has, as far as the settings don't say otherwise."""
        return of_host(cpus=self.settings.cpus, mem=self.settings.mem, gpus=self.settings.gpus)

    async def open(self) -> None:
        """Read the account's login environment once, where that is asked for."""
        if self.settings.login_shell:
            self._login = await login_environment()

    def search_path(self, spec: TaskSpec) -> str:
        """Where the login shell looks, if that is asked for."""
        return super().search_path(spec.model_copy(update={"env": {**self._login, **spec.env}}))

    async def execute(self, task: Task) -> Result:
        """Run the task's command to its end."""
        place = await ready(task, prepare)
        spec = task.spec
        await task.update(
            pwd=str(place.cwd),
            user=self._account,
            timestamp=task.record.data.get("timestamp") or datetime.now(UTC).isoformat(),
            cmd=spec.argv,
            command=task.record.command,
        )
        argv = ("/bin/sh", "-c", *spec.argv) if spec.shell else spec.argv
        if self.settings.nice:
            argv = (_NICE, "-n", str(self.settings.nice), "--", *argv)
        argv = (*_STANDS_BACK[self.settings.ionice], *argv)
        ended = await task.run(
            argv, cwd=place.cwd, env={**self._login, **spec.env}, stdin=place.stdin, timeout=spec.timeout
        )
        data = {
            "status": "complete",
            "maxrss_kb": ended.maxrss_kb,
            "utime": ended.utime,
            "stime": ended.stime,
        }
        return Result(ended.returncode, data=data, reason=ended.error)


async def login_environment() -> dict[str, str]:
    """Read the environment that the account's own shell gives to a login, with its modules and paths.

    Raises OSError where the shell can't be started, ValueError where it tells no environment.
    """
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        raise ValueError(f"login_shell: this host knows no account with the number {os.getuid()}") from None
    shell = entry.pw_shell or "/bin/sh"
    basics = {
        "HOME": entry.pw_dir,
        "USER": entry.pw_name,
        "LOGNAME": entry.pw_name,
        "SHELL": shell,
        "PATH": os.defpath,
    }
    # A profile may print what it likes: the environment comes after a mark.
    told = await capture([shell, "-l", "-c", "printf '\\1\\1'; exec env -0"], LOGIN_PATIENCE, basics)
    _, mark, text = told.stdout.partition(b"\1\1")
    entries = dict(line.split(b"=", 1) for line in text.split(b"\0") if b"=" in line)
    if not mark or not entries or told.returncode:
        raise ValueError(f"login_shell: {shell} -l told no environment: {told.stderr[-200:]!r}")
    found = {os.fsdecode(name): os.fsdecode(value) for name, value in entries.items()}
    return {name: value for name, value in found.items() if name not in OF_A_SHELL}

"""The shell executor by itself: what it asks of the task that it is handed, its settings, its README."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from qme.contracts.tasks import Status, TaskRecord, TaskSpec
from qme.errors import SettingsError
from qme.executor.attempts import Exit
from qme.executor.base import EndReason, actions_of
from qme.executor.registry import load
from qme.settings import load_executor_settings, options
from qme_executor_shell import ShellExecutor, ShellSettings, login_environment

README = (Path(__file__).parents[1] / "README.md").read_text()


class Recorder:
    """A task that runs nothing and remembers what it was asked for."""

    number = 1
    started = False
    cancelled = False

    def __init__(self, directory: Path, **spec: Any) -> None:
        self.directory = directory
        self.spec = TaskSpec.model_validate({"uuid": "u", "user": "ann", "argv": ("x",), **spec})
        self.exported: dict[str, Any] = {}
        self.asked: dict[str, Any] = {}

    @property
    def record(self) -> TaskRecord:
        """A record with what was exported."""
        return TaskRecord(
            uid="shell-u",
            executor="shell",
            pool="p",
            command=self.spec.command,
            user="ann",
            created=datetime.now(UTC),
            data=self.exported,
        )

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: Path | None = None,
        timeout: float | None = None,
    ) -> Exit:
        """Remember."""
        self.asked = {
            "argv": tuple(argv),
            "cwd": cwd,
            "env": dict(env or {}),
            "stdin": stdin,
            "timeout": timeout,
        }
        return Exit(-15, 0.25, 0.5, 1234, 1.0, 2.0, None)

    async def end(self, reason: EndReason) -> None:
        """Remember."""
        self.asked["end"] = reason

    async def signal(self, number: int) -> int:
        """Remember."""
        self.asked["signal"] = number
        return 1

    async def confirm(self) -> None:
        """Allow it."""

    async def alone(self) -> bool:
        """Nobody had it before."""
        return True

    def follow(
        self, files: Mapping[str, Path], *, first: float, longest: float
    ) -> AbstractAsyncContextManager[None]:
        """Remember; a shell command writes its own files."""
        self.asked["follow"] = files
        return nullcontext()

    async def update(self, *, status: Status | None = None, reason: str | None = None, **data: Any) -> None:
        """Remember."""
        self.exported |= data


async def test_words_are_handed_on(tmp_path: Path) -> None:
    """argv, folder, variables and time limit reach the command as they were submitted."""
    task = Recorder(tmp_path, argv=("a b", ""), cwd=str(tmp_path), env={"K": "v"}, timeout=7.0)
    result = await ShellExecutor(ShellSettings()).execute(task)
    assert task.asked == {
        "argv": ("a b", ""),
        "cwd": tmp_path,
        "env": {"K": "v"},
        "stdin": None,
        "timeout": 7.0,
    }
    assert (result.returncode, result.outcome) == (143, None)
    assert result.data == {"status": "complete", "maxrss_kb": 1234, "utime": 0.25, "stime": 0.5}
    assert task.exported["cmd"] == ("a b", "")
    assert task.exported["pwd"] == str(tmp_path)


async def test_a_line_is_run_by_the_shell(tmp_path: Path) -> None:
    """One word that needs a shell is run by /bin/sh -c."""
    task = Recorder(tmp_path, argv=("echo a | wc",), shell=True)  # noqa: S604 -- a field of the spec
    await ShellExecutor(ShellSettings()).execute(task)
    assert task.asked["argv"] == ("/bin/sh", "-c", "echo a | wc")


async def test_nice(tmp_path: Path) -> None:
    """With the setting, commands give way to others; options of the command are not taken for nice's."""
    task = Recorder(tmp_path, argv=("-x", "1"))
    await ShellExecutor(ShellSettings(nice=5)).execute(task)
    assert task.asked["argv"] == (shutil.which("nice"), "-n", "5", "--", "-x", "1")


async def test_the_time_of_the_start_stays(tmp_path: Path) -> None:
    """Called again after a restart, it does not give the command a new time of starting."""
    task = Recorder(tmp_path)
    task.exported["timestamp"] = "then"
    await ShellExecutor(ShellSettings()).execute(task)
    assert task.exported["timestamp"] == "then"


async def test_login_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The login environment comes from the account's shell, not from the worker's own, and lies under the task's."""
    monkeypatch.setenv("ONLY_HERE", "1")
    env = await login_environment()
    assert "ONLY_HERE" not in env
    assert env["HOME"]
    assert env["PATH"]
    executor = ShellExecutor(ShellSettings(login_shell=True))
    await executor.open()
    task = Recorder(tmp_path, env={"HOME": "/mine"})
    await executor.execute(task)
    assert task.asked["env"]["HOME"] == "/mine"
    assert task.asked["env"]["PATH"] == env["PATH"]


def test_settings_from_the_environment(tmp_path: Path) -> None:
    """Settings are read under the executor's name, and a bad one says what is allowed."""

    def loaded(env: dict[str, str]) -> ShellSettings:
        return load_executor_settings("shell", ShellSettings, home=tmp_path, env=env).settings

    assert loaded({"QME_SHELL_SLOTS": "7", "QME_SHELL_LOGIN_SHELL": "yes"}) == ShellSettings(
        slots=7, login_shell=True
    )
    with pytest.raises(SettingsError, match="QME_SHELL_NICE"):
        loaded({"QME_SHELL_NICE": "20"})


def test_it_is_found_by_its_name() -> None:
    """The entry point leads here, and it takes what nobody else matches."""
    assert load("shell") is ShellExecutor
    assert ShellExecutor.matchstring is None


def test_the_readme_names_everything() -> None:
    """The README has its four headings, every setting and every action."""
    assert re.findall(r"^## (.*)$", README, re.MULTILINE) == ["Matches", "Usage", "Settings", "Actions"]
    for key in options(ShellSettings):
        assert f"| `{key}` |" in README
    for info in actions_of(ShellExecutor):
        assert f"`{info.name}`" in README

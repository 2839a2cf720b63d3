"""The shell executor is asked what every executor is asked."""

from __future__ import annotations

from pathlib import Path

from qme.testing.suite import ExecutorSuite
from qme_executor_shell import ShellExecutor


class TestShell(ExecutorSuite):
    """With real commands."""

    executor = ShellExecutor
    succeed = ("true", "echo hello | cat")
    fail = ("exit 3", "no-such-program")
    stay = ("sleep 600",)
    readme = Path(__file__).parents[1] / "README.md"

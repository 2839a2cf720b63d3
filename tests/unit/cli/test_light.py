"""Verbs import what they need and nothing else: starting is most of the time that a short command takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: never on the way of a client
SERVICES_ONLY = {"structlog", "rich", "prometheus_client", "re2", "psutil", "streamlit", "qme_submitter"}
#: not for verbs that need no bus either
BUS_ONLY = SERVICES_ONLY | {"nats", "pydantic", "asyncio"}
CLIENT = "import qme.client.connect, qme.bus.jetstream, qme.local; "


@pytest.mark.parametrize(
    ("line", "also", "banned"),
    [
        ("--help", "", BUS_ONLY),
        ("version", "", BUS_ONLY),
        ("config path", "", BUS_ONLY),
        ("submit --help", CLIENT, SERVICES_ONLY),
        ("run --help", CLIENT, SERVICES_ONLY),
        ("ls --help", CLIENT, SERVICES_ONLY),
        ("logs --help", CLIENT, SERVICES_ONLY),
    ],
)
def test_nothing_heavy_is_imported(line: str, also: str, banned: set[str], tmp_path: Path) -> None:
    """In a fresh interpreter, with what connecting brings along where the verb connects."""
    program = (
        f"import sys; from qme.cli import main; main({line.split()!r}); {also}print('\\n', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "QME_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.rpartition("\n ")[2].split()}
    assert "qme" in loaded
    assert not banned & loaded


def test_a_client_imports_no_service() -> None:
    """`from qme import Queue` is as light."""
    program = "import sys; from qme import Queue; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=50
    )
    assert not SERVICES_ONLY & {name.partition(".")[0] for name in done.stdout.split()}


def test_a_closed_stdout_is_no_accident(tmp_path: Path) -> None:
    """`qme version >&-` neither fails nor writes into whatever file gets the number 1."""
    line = f"{sys.executable} -m qme.cli config path >&-"
    env = {**os.environ, "QME_HOME": str(tmp_path)}
    done = subprocess.run(["sh", "-c", line], env=env, capture_output=True, check=False, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

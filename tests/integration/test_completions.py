"""Completion, asked of the shells themselves."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
BEYOND = [
    ("qme sub", {"submit"}),
    ("qme ", {"submit", "run", "ls", "completions"}),
    ("qme --nats-url nats://x sub", {"submit"}),
    ("qme ls --lim", {"--limit"}),
    ("qme run --mess", {"--message"}),
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of all three shells, by the shell's name."""
    folder = tmp_path_factory.mktemp("completions")
    for shell in ("bash", "zsh", "fish"):
        text = subprocess.run([BIN / "qme", "completions", shell], capture_output=True, check=True).stdout
        (folder / shell).write_bytes(text)
    return folder


def _bash(script: Path, line: str, **environ: str) -> set[str]:
    words = line.split(" ")
    ask = (
        f"source {script}; COMP_WORDS=({' '.join(w or repr('') for w in words)}); COMP_CWORD={len(words) - 1}; _qme;"
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", ask], capture_output=True, text=True, check=True, env=os.environ | environ
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize(("line", "expected"), BEYOND)
def test_bash_completes(scripts: Path, line: str, expected: set[str]) -> None:
    """Verbs, also after a setting; options of the verb."""
    assert expected <= _bash(scripts / "bash", line)


def test_bash_leaves_a_commands_own_words_alone(scripts: Path, tmp_path: Path) -> None:
    """After the command's first word its options are not qme's; an option's value is not the command."""
    assert "--message" not in _bash(scripts / "bash", "qme run ls --m")
    assert "--message" in _bash(scripts / "bash", "qme run --cwd /tmp --m")
    assert "sort" in _bash(scripts / "bash", "qme run --cwd /tmp sor")


def test_bash_completes_ids_by_asking(scripts: Path, tmp_path: Path) -> None:
    """The ids come from `qme ls`."""
    fake = tmp_path / "qme"
    fake.write_text("#!/bin/sh\nprintf 'shell-0199\\tshell\\nshell-0200\\tshell\\n'\n")
    fake.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    assert _bash(scripts / "bash", "qme logs shell-02", PATH=path) == {"shell-0200"}


@pytest.mark.parametrize(("line", "expected"), BEYOND[:2] + BEYOND[3:])
def test_fish_completes(scripts: Path, line: str, expected: set[str]) -> None:
    """Verbs and options, as fish itself lists them."""
    if shutil.which("fish") is None:
        pytest.skip("fish is missing (apt: fish)")
    ask = f"source {scripts / 'fish'}; complete -C '{line}'"
    done = subprocess.run(["fish", "--no-config", "-c", ask], capture_output=True, text=True, check=True)
    assert expected <= {said.split("\t")[0] for said in done.stdout.splitlines()}


def test_zsh_completes(scripts: Path) -> None:
    """A press of the key in a real terminal."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is missing (apt: zsh)")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("zsh", ["zsh", "-f", "-i"])  # noqa: S606 - it has a terminal of its own
    try:
        os.write(
            terminal,
            f"autoload -U compinit; compinit -D -u; source {scripts / 'zsh'}; echo rea''dy\n".encode(),
        )
        _until(terminal, b"ready")
        os.write(terminal, b"qme complet\t")
        _until(terminal, b"qme completions")
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)


def _until(terminal: int, wanted: bytes) -> None:
    seen, deadline = b"", time.monotonic() + 20
    while wanted not in seen:
        assert time.monotonic() < deadline, seen
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 4096)

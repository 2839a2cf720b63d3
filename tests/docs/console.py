"""Follows a page: types what stands after ``$`` in console blocks, and compares what is printed with what it shows.

``…`` in the page stands for anything in that line, and a line of it alone for any lines. A block whose first line names
a file after its language is that file's new content. Blocks marked ``sh`` are the reader's own preparation: not run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(?:console|\w+ (?P<path>\S+))\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
#: seconds that one command may take
PATIENCE = 60
_END = "--end-of-this-command--"


@dataclass(frozen=True)
class Typed:
    """A command of a page, and the lines that the page shows below it."""

    command: str
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """A file of a page, below the folder in which its commands are typed."""

    path: str
    text: str


def steps(page: Path) -> list[Typed | Written]:
    """What a page has its reader do, in order."""
    found: list[Typed | Written] = []
    for match in FENCE.finditer(page.read_text()):
        block = match["text"]
        if match["path"]:
            found.append(Written(match["path"], block))
            continue
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *shown = part.rstrip("\n").split("\n")
            found.append(Typed(command, tuple(shown)))
    return found


class Shell:
    """One shell in an empty home, in which a page is typed from its beginning to its end."""

    def __init__(self, home: Path, **environ: str) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("QME_", "NATS_"))}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=home,
            env=kept | {"HOME": str(home), "PATH": path} | environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def type(self, command: str) -> list[str]:
        """Type a command and give the lines that it prints, errors among them."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{command}\necho {_END}\n")
        self._bash.stdin.flush()
        lines = []
        while (line := self._bash.stdout.readline()) and not line.endswith(f"{_END}\n"):
            lines.append(line.rstrip("\n"))
        rest = line.removesuffix(f"{_END}\n")  # what was printed without an end of line
        return [*lines, rest] if rest else lines

    def write(self, path: str, text: str) -> None:
        """Write a file where the shell stands now."""
        (folder,) = self.type("pwd")
        Path(folder, path).write_text(text)

    def close(self) -> None:
        """End the shell."""
        assert self._bash.stdin is not None
        self._bash.stdin.close()
        self._bash.wait(PATIENCE)
        assert self._bash.stdout is not None
        self._bash.stdout.close()


def agrees(shown: tuple[str, ...], printed: list[str]) -> bool:
    """Tell whether what was printed is what the page shows."""
    pattern = "".join(
        "(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + "\n" for line in shown
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None

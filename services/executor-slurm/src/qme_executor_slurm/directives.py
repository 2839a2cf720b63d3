"""The ``#SBATCH`` lines of a script as words, split as sbatch splits them. Pure; it opens no file.

Not `shlex`: sbatch takes a backslash inside single quotes as an escape, one before a space as nothing at all, and
begins a comment at any unquoted ``#``, also in the middle of a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_MAGIC = "#SBATCH"
#: lines that begin the next job of a heterogeneous one, where the command line has a ":"
_SEPARATORS = (["hetjob"], ["packjob"])
#: a backslash that escapes nothing; any other one stays for the loop below
_BEFORE_SPACE = re.compile(r"(\\\S)|\\(?=\s|$)")


def words(script: str) -> list[str]:
    """Give the words of a script's directives, in order; ``:`` stands between the jobs of a heterogeneous one."""
    found: list[str] = []
    for line in script.split("\n"):
        if line.startswith(_MAGIC):
            here = list(_split(line.removeprefix(_MAGIC)))
            found += [":"] if here in _SEPARATORS else here
        elif (text := line.strip()) and not text.startswith("#"):
            break
    return found


def _split(line: str) -> Iterator[str]:
    chars = iter(_BEFORE_SPACE.sub(r"\1", line))
    word: str | None = None
    quote = ""
    for char in chars:
        if char.isspace() and not quote:
            if word is not None:
                yield word
            word = None
            continue
        if char == "#" and not quote:
            break
        word = word or ""
        if char == "\\":
            word += next(chars, "")
        elif char == quote:
            quote = ""
        elif char in "\"'" and not quote:
            quote = char
        else:
            word += char
    if word is not None:
        yield word

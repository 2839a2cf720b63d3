"""How the words that a person typed become an argv: exactly as given, or one string for a shell. No bus here."""

from __future__ import annotations

import os
from collections.abc import Sequence

from qme.errors import InvalidRequest

#: characters that mean something to /bin/sh; white space counts too
SHELL_CHARACTERS = frozenset("|&;<>()$`*?[]{}~'\"\\#!")


def argv_of(command: str | Sequence[str]) -> tuple[str, ...]:
    """Give a command's words: a string is one word, as a quoted string on a command line is.

    Raises InvalidRequest for no words at all, and for words that can't travel (a NUL, or bytes that are not UTF-8).
    """
    words = (command,) if isinstance(command, str) else tuple(command)
    if not words:
        raise InvalidRequest("there is no command")
    if not words[0].strip():
        raise InvalidRequest("the command is empty: its first word names the program")
    for word in words:
        if "\0" in word:
            raise InvalidRequest(f"a word of the command holds a NUL character: {word[:40]!r}")
        try:
            word.encode()
        except UnicodeEncodeError:
            raise InvalidRequest(f"a word of the command is not UTF-8: {word[:40]!r}") from None
    return words


def needs_shell(argv: Sequence[str], cwd: str | None = None) -> bool:
    """Tell whether ``/bin/sh -c`` has to run it: one word that looks like shell text and names no file.

    ``cwd`` is the folder that relative names count from; None is the present one.
    """
    if len(argv) != 1:
        return False
    word = argv[0]
    if not any(character.isspace() or character in SHELL_CHARACTERS for character in word):
        return False
    return not _names_file(word, cwd)


def _names_file(word: str, cwd: str | None) -> bool:
    folders = [cwd or ""] if "/" in word else os.environ.get("PATH", os.defpath).split(os.pathsep)
    # Not shutil.which: its import costs as much as everything else here together.
    return any(os.path.isfile(os.path.join(folder, word)) for folder in folders)  # noqa: PTH113, PTH118

"""The script that a command names, to be sent along where its executor wants that. Reads local files; of a bus it knows
what it is handed.

What an executor advertises only switches this on. Which word is a script is said by the grammars below, and by nobody
else: a definition must not be able to make clients send files of its choosing. So a script is what the grammar of the
program in the command's first word says, found where that program would look for it, and it begins with ``#!``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qme.client.submission import packed
from qme.contracts.messages import MAX_FILES, Submission
from qme.contracts.tasks import SentFile

_MAGIC = b"#!"

#: executor and pool that were asked for
_Place = tuple[str | None, str | None]
#: tells for each command how the executor that it will go to names scripts
Ask = Callable[[Sequence[tuple[str, ...]], str | None, str | None], Awaitable[Sequence[str | None]]]


@dataclass(frozen=True, slots=True)
class Script:
    """A script that could be sent along."""

    #: what an executor's definition has to say (`Definition.script`) for it to be sent
    grammar: str
    file: SentFile


async def taken_along(tasks: Sequence[Submission], ask: Ask) -> list[Submission]:
    """Give the tasks their scripts, where the executor that a task will go to wants that. Asks once for each place."""
    kept: dict[tuple[str, str], SentFile] = {}  # what many tasks name is held once
    found: list[Script | None] = []
    commands: dict[_Place, dict[tuple[str, ...], None]] = {}
    for task in tasks:
        if script := script_of(task):
            file = kept.setdefault((script.file.name, script.file.sha256), script.file)
            script = replace(script, file=file)
            commands.setdefault((task.executor, task.pool), {})[task.argv] = None
        found.append(script)
    wanted = {
        place: dict(zip(each, await ask(tuple(each), *place), strict=True))
        for place, each in commands.items()
    }
    return [
        task.model_copy(update={"script": script.file})
        if script and wanted[task.executor, task.pool][task.argv] == script.grammar
        else task
        for task, script in zip(tasks, found, strict=True)
    ]


def script_of(task: Submission) -> Script | None:
    """Give the script that a command names, if it is here; None too where it is too large to be sent with the rest.

    Cheap for every command whose program has no grammar here.
    """
    program = task.argv[0].split(maxsplit=1)[0] if task.shell else task.argv[0]
    if program.rpartition("/")[2] != "sbatch":
        return None
    from qme.contracts import sbatch_words  # only here: most commands need neither
    from qme.executor.words import plain_words
    from qme.executor.workplace import WorkplaceError

    try:
        argv = plain_words(task)
    except (WorkplaceError, ValueError):
        return None  # its executor will say what is wrong with it
    word = sbatch_words.script_word(argv)
    if word is None or any(Path(sent.name).name == Path(word).name for sent in task.files):
        return None
    places = _places(word, task.cwd, sbatch_words.working_directory(argv))
    path = next((place for place in places if place.is_file()), None)
    content = _read(path) if path else None
    if path is None or content is None:
        return None
    script = packed(path.name, content, 0o700)
    together = (*task.files, *filter(None, (task.stdin, script)))
    return Script("sbatch", script) if sum(sent.size for sent in together) <= MAX_FILES else None


def _places(word: str, cwd: str | None, chdir: str | None) -> Iterator[Path]:
    """Give the places where sbatch looks for a script, in its order."""
    here = Path(cwd or "/")
    yield here / (chdir or "") / word
    yield here / word
    if not word.startswith((".", "/")):
        yield from (here / folder / word for folder in os.environ.get("PATH", "").split(os.pathsep) if folder)


def _read(path: Path) -> bytes | None:
    """Read a script of a size that can travel; None for all else."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            content = file.read(MAX_FILES + 1)
    except OSError:
        return None
    return content if content.startswith(_MAGIC) and len(content) <= MAX_FILES else None

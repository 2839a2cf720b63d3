"""From a task to the sbatch that is to be run for it: its working folder, its script, its words. Starts nothing."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from qme.contracts import sbatch_words
from qme.contracts.tasks import SentFile
from qme.executor import Task, plain_words
from qme.executor.workplace import Workplace, WorkplaceError, lay_out, prepare
from qme_executor_slurm import rules, sbatch
from qme_executor_slurm.sbatch import Submission
from qme_executor_slurm.settings import SlurmSettings

#: bytes of a script that are read; Slurm itself takes no larger one by default
_LARGEST = 4 << 20


@dataclass(frozen=True, slots=True)
class Call:
    """An sbatch that can be run now."""

    submission: Submission
    place: Workplace
    stdin: bytes | None
    #: the file that sbatch is given; None: it gets none, or will not find it
    script: Path | None = None


def prepare_call(task: Task, settings: SlurmSettings | None = None) -> Call:
    """Lay out what the task brings and word its sbatch, within the rules of `settings`.

    Raises WorkplaceError. Safe to repeat.
    """
    place = prepare(task)
    argv = plain_words(task.spec)
    folder = place.cwd / (sbatch_words.working_directory(argv) or "")
    stdin = place.stdin.read_bytes() if place.stdin else None
    word = sbatch_words.script_word(argv)
    path = _script(word, folder, place.cwd, task) if word else None
    text = _content(path) if path else stdin or b""
    if word and path and not _leads_there(word, path, folder):
        argv[1 + (sbatch_words.read(argv[1:]).script or 0)] = str(path)
    if settings is not None and rules.look_inside(settings):
        _check(settings, task, argv, text, place.cwd)
        if word:
            argv[1 + (sbatch_words.read(argv[1:]).script or 0)] = str(_judged(path, word, text, task))
    mark = sbatch.marker(task.spec.uuid, task.number)
    submission = sbatch.build(argv, mark, script=text.decode(errors="replace"), env=task.spec.env)
    return Call(submission, place, stdin, path)


def _check(settings: SlurmSettings, task: Task, argv: list[str], script: bytes, cwd: Path) -> None:
    def resolved(folder: str) -> Path:
        return Path(os.path.realpath(cwd / folder))

    if settings.directories is not None:
        folders = tuple(Path(os.path.realpath(one)) for one in settings.directories)
        settings = replace(settings, directories=folders)
    words = sbatch_words.read(argv[1:])
    text = script.decode(errors="replace")
    if (why := rules.refusal(settings, words, text, task.spec.env, resolved)) is not None:
        raise WorkplaceError(why)


def _judged(path: Path | None, word: str, text: bytes, task: Task) -> Path:
    """Put what was judged where nobody changes it before sbatch reads it, under the name that jobs get from it."""
    if path is None or len(text) == _LARGEST:
        why = "is not found" if path is None else "is too large"
        raise WorkplaceError(
            f"refused by this worker's rules: the script {word} {why}, so its options can't be seen"
        )
    digest = hashlib.sha256(text).hexdigest()
    copy = SentFile(name=path.name, content=base64.b64encode(text).decode(), mode=0o700, sha256=digest)
    folder = task.directory / f"judged-{digest[:16]}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return lay_out(copy, folder)


def clusters_of(task: Task) -> str | None:
    """Give the clusters that the task's sbatch names, also where it can't be run here."""
    try:
        return prepare_call(task).submission.clusters
    except WorkplaceError:
        words = sbatch_words.read(plain_words(task.spec)[1:])
        return words.value("clusters") or task.spec.env.get("SBATCH_CLUSTERS")


def _script(word: str, folder: Path, cwd: Path, task: Task) -> Path | None:
    """Find the script: the one that was sent along by itself, unless the same is here where sbatch looks for it."""
    here = _here(word, folder, cwd, task)
    sent = task.spec.script
    if sent is None or (here and _is(here, sent)):
        return here
    # Apart from the working folder, which may be the user's own, with a script of that name and other content.
    return lay_out(sent, task.directory / "script")


def _here(word: str, folder: Path, cwd: Path, task: Task) -> Path | None:
    """Look where sbatch looks, and among the files that were sent along by name."""
    for base in (folder, cwd):
        if (base / word).is_file():
            return base / word
    named = {sent.name for sent in task.spec.files}
    if (name := Path(word).name) in named:
        return cwd / name
    found = shutil.which(word)
    return Path(found) if found else None


def _is(path: Path, sent: SentFile) -> bool:
    return hashlib.sha256(_content(path)).hexdigest() == sent.sha256


def _leads_there(word: str, path: Path, folder: Path) -> bool:
    return folder / word == path or shutil.which(word) == str(path)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST)
    except OSError:
        return b""  # sbatch will say what is wrong with it

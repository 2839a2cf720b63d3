"""What a worker adds to its spool: which attempts it has reported, and the tasks' own folders beside it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from qme.contracts.subjects import token
from qme.executor.attempts import AttemptDir
from qme.executor.spool import Spool
from qme.settings import Settings

#: name of the mark in an attempt's folder: its final record is on the bus, nothing is left to be done
_REPORTED = "reported"


def spool_path(settings: Settings, executor: str, pool: str) -> Path:
    """Where the spool of this host's worker of an executor and pool lies."""
    return settings.local_dir / "spool" / f"{executor}.{pool}"


def work_folder(settings: Settings, worker: str) -> Path:
    """Where this worker makes folders of tasks that bring none; apart from those of other hosts on a shared disk."""
    return settings.workdir / token(worker)


def own_folder(settings: Settings, worker: str, uuid: str, attempt: int) -> Path:
    """Where an executor remembers what it did for an attempt, and where its command runs if it names no place."""
    return work_folder(settings, worker) / f"{uuid}.{attempt}"


def mark_reported(folder: AttemptDir) -> None:
    """Remember that an attempt needs no more care. Nothing where it has no folder. Safe to repeat."""
    with suppress(FileNotFoundError, NotADirectoryError):
        os.close(os.open(folder.path / _REPORTED, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def is_reported(folder: AttemptDir) -> bool:
    """Tell whether the attempt was marked."""
    return (folder.path / _REPORTED).exists()


def clean(spool: Spool, settings: Settings, worker: str, held: Collection[tuple[str, int]]) -> int:
    """Make room in the spool, and remove the tasks' own folders with it; the number of attempts. Blocks."""
    unreported = {(folder.uuid, folder.attempt) for folder in spool if not _is_surely_reported(spool, folder)}
    removed = spool.clean(time.time(), settings.spool_keep, settings.spool_limit, keep=unreported.union(held))
    kept = {f"{folder.uuid}.{folder.attempt}" for folder in spool} | {
        f"{uuid}.{number}" for uuid, number in held
    }
    folders = work_folder(settings, worker)
    for path in folders.iterdir() if folders.is_dir() else ():
        is_old = path.lstat().st_mtime < time.time() - settings.spool_keep
        if path.name not in kept and is_old:
            shutil.rmtree(path, ignore_errors=True)
    return removed


def _is_surely_reported(spool: Spool, folder: AttemptDir) -> bool:
    try:
        return is_reported(folder)
    except OSError as error:
        spool.pass_over(folder.path, error)
        return False

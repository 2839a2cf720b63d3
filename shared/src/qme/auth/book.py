"""The identities of a site: a JSON file in a folder of the administrator's, and the server's include file beside it.

Both are replaced whole, under a lock, and belong to whom the folder belongs to. The book holds public keys; a
secret one goes into its credentials file only.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from qme.auth import keys
from qme.auth.accounts import Identity, configuration
from qme.contracts import subjects
from qme.contracts.rights import Place, Role
from qme.errors import InvalidRequest, NotFound, SettingsError

BOOK, INCLUDE, CREDS = "identities.json", "qme-auth.conf", "creds"
_TEAM = re.compile(r"[a-z0-9_]{1,32}\Z")


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of one identity."""

    team: str
    role: str
    name: str
    key: str
    since: str
    executor: str | None = None
    pool: str | None = None
    #: when the server shall forget it; it does with the next `qme auth` that writes, and its reload
    ends: str | None = None

    def is_over(self, now: datetime) -> bool:
        """Tell whether its time is over."""
        return self.ends is not None and datetime.fromisoformat(self.ends) <= now

    @property
    def place(self) -> Place | None:
        """A worker's executor and pool."""
        return Place(self.executor, self.pool) if self.executor and self.pool else None

    @property
    def who(self) -> tuple[str, str, str, Place | None]:
        """What its other keys share."""
        return (self.team, self.role, self.name, self.place)


class Book:
    """The identities in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.include = folder / INCLUDE

    def start(self) -> None:
        """Make the folder and an empty book; one that is there stays. Raises OSError, SettingsError.

        The include file is written anew from it: another version of qme may grant its roles other rights.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / CREDS).mkdir(mode=0o700, exist_ok=True)
        with self._locked():
            self._write(self.entries() if (self.folder / BOOK).exists() else ())

    def entries(self) -> tuple[Entry, ...]:
        """Give all keys, oldest first. Raises SettingsError where there is no book, or a damaged one."""
        path = self.folder / BOOK
        try:
            return tuple(Entry(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))["entries"])
        except FileNotFoundError:
            raise SettingsError(f"there are no identities in {self.folder}; `qme auth init` begins") from None
        except (ValueError, KeyError, TypeError) as error:
            raise SettingsError(f"{path} can't be read: {error}") from error

    def add(
        self,
        team: str,
        role: Role,
        name: str,
        place: tuple[str, str] | None = None,
        *,
        lasts: float | None = None,
    ) -> Path:
        """Give an identity a key, beside those that it has, and give the file of its credentials.

        `place` are a worker's executor and pool, by name; `lasts` the seconds that the key is good for. Raises
        InvalidRequest.
        """
        now = datetime.now(UTC)
        entry = Entry(team, role.value, name, "", now.isoformat(timespec="seconds"))
        if lasts is not None:
            entry = replace(entry, ends=(now + timedelta(seconds=lasts)).isoformat(timespec="seconds"))
        if place is not None:
            entry = replace(entry, executor=place[0], pool=place[1])
        with self._locked():
            before = self.entries()
            _check(entry, before)
            pair = keys.make()
            path = self.folder / CREDS / f"{_file_name(entry)}-{pair.public[-8:].lower()}.json"
            keys.write(path, name, pair, entry.ends)
            self._write((*before, replace(entry, key=pair.public)))
        return path

    def revoke(self, team: str, name: str, *, key: str | None = None, old: bool = False) -> list[Entry]:
        """Take keys away: all of a name's, those that end in `key`, or with `old` all but each identity's newest.

        Raises NotFound.
        """
        with self._locked():
            before = self.entries()
            of_name = [entry for entry in before if (entry.team, entry.name) == (team, name)]
            newest = {entry.who: entry.key for entry in of_name}
            gone = [
                entry
                for entry in of_name
                if (key is None or (key and entry.key.endswith(key.upper())))
                and not (old and newest[entry.who] == entry.key)
            ]
            if not gone:
                raise NotFound(f"{name} of team {team} has no such key; `qme auth show` lists them")
            self._write(tuple(entry for entry in before if entry not in gone))
        return gone

    def expire(self) -> list[Entry]:
        """Take away the keys whose time is over, and give them."""
        with self._locked():
            before, now = self.entries(), datetime.now(UTC)
            gone = [entry for entry in before if entry.is_over(now)]
            if gone:
                self._write(tuple(entry for entry in before if entry not in gone))
        return gone

    def _write(self, entries: tuple[Entry, ...]) -> None:
        text = json.dumps({"version": 1, "entries": [asdict(entry) for entry in entries]}, indent=1)
        _replace(self.folder / BOOK, text + "\n")
        now = datetime.now(UTC)
        good = tuple(entry for entry in entries if not entry.is_over(now))
        _replace(self.include, configuration(_identities(good)))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise SettingsError(f"there are no identities in {self.folder}; `qme auth init` begins") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _identities(entries: tuple[Entry, ...]) -> Iterator[Identity]:
    together: dict[Any, list[str]] = {}
    for entry in entries:
        together.setdefault(entry.who, []).append(entry.key)
    for (team, role, name, place), its in together.items():
        yield Identity(team, Role(role), subjects.token(name), place, tuple(its))


def _check(entry: Entry, before: tuple[Entry, ...]) -> None:
    """Raise InvalidRequest for what would be somebody else, or would take somebody else's place."""
    if not _TEAM.match(entry.team):
        raise InvalidRequest(
            f"{entry.team!r} can't be a team's name: lower-case letters, digits and _, at most 32"
        )
    if not entry.name.strip() or entry.name != entry.name.strip():
        raise InvalidRequest(f"{entry.name!r} can't be a name")
    if (entry.role == Role.DASHBOARD) != entry.name.startswith(subjects.DASHBOARD):
        raise InvalidRequest(f"names of dashboards, and only those, begin with {subjects.DASHBOARD}")
    if (entry.role == Role.WORKER) != (entry.place is not None):
        raise InvalidRequest("a worker, and nobody else, needs --executor; with --pool for a shared one")
    if entry.place is None:
        return
    subjects.executor_name(entry.place.executor)
    own = subjects.personal_pool(entry.name)
    if entry.place.pool.startswith("u-") and entry.place.pool != own:
        raise InvalidRequest(
            f"pool {entry.place.pool} is another person's own; that of {entry.name} is {own}"
        )
    mine = subjects.consumer(entry.place.executor, entry.place.pool)
    for other in before:
        theirs = other.place
        if other.team != entry.team or theirs is None or theirs == entry.place:
            continue
        if subjects.consumer(theirs.executor, theirs.pool) == mine:
            raise InvalidRequest(
                f"executor {entry.place.executor} in pool {entry.place.pool} would share its queue with "
                f"{theirs.executor} in {theirs.pool}: both are spelled {mine}; choose another pool"
            )


def _file_name(entry: Entry) -> str:
    where = () if entry.place is None else (entry.place.executor, entry.place.pool)
    return "-".join((entry.team, entry.role, subjects.token(entry.name), *where))


def _replace(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        if os.geteuid() == 0:  # the server reads it as another account, which the folder belongs to
            owner = path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)

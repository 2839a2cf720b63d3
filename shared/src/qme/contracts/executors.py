"""What workers advertise: definitions (stay until forgotten) and heartbeats (expire). No behaviour but validation."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, field_validator

from qme.contracts import subjects
from qme.contracts.bounds import Count, Moment, Size
from qme.contracts.resources import Capacity


class _Advert(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)


class ActionInfo(_Advert):
    """An action that an executor offers on its tasks."""

    name: str
    help: str = ""
    changes: bool = False  #: needs the owner or an operator; a reading action does not
    remote: bool = (
        False  #: only a worker can answer it; the others are answered from the record and the log stream
    )


class Definition(_Advert):
    """An executor in a pool, as the submitter routes by it and the dashboard shows it."""

    executor: str
    pool: str
    matchstring: str | None  #: RE2 pattern over the command's words; null takes what nobody else matches
    priority: int = 0  #: high first
    version: str = "0"
    account: str  #: operating-system account that the pool's tasks run as
    users: tuple[str, ...] = ()  #: user names that may submit; ``*`` admits all; empty: the account's owner
    actions: tuple[ActionInfo, ...] = ()
    fields: tuple[str, ...] = ()  #: names in `data` worth showing, in order
    lost_by_silence: bool = False  #: a worker that is silent for long makes its tasks `lost`, provisionally
    #: how its commands name a script, so that clients send it along (`qme.client.scripts` has the ways there are)
    script: str | None = None
    resources: bool = False  #: its workers give tasks the cpus, memory and GPUs that they ask for
    updated: Moment

    @field_validator("executor")
    @classmethod
    def _name(cls, value: str) -> str:
        return subjects.executor_name(value)

    @property
    def personal(self) -> bool:
        """It speaks only for its owner's own pool, so it needs nobody's approval."""
        return self.pool.startswith("u-")

    def admits(self, user: str) -> bool:
        """Tell whether a user (by name) may submit to this pool."""
        if self.personal:
            return self.pool == subjects.personal_pool(user)
        return "*" in self.users or user in (self.users or (self.account,))


class Approval(_Advert):
    """An operator's word that a shared pool's definition may take its users' commands, as it stood then."""

    matchstring: str | None
    priority: int
    account: str
    users: tuple[str, ...]
    script: str | None = None
    by: str
    at: Moment

    def covers(self, definition: Definition) -> bool:
        """Tell whether the definition still says what was approved."""
        mine = (self.matchstring, self.priority, self.account, self.users, self.script)
        theirs = (definition.matchstring, definition.priority, definition.account, definition.users)
        return mine == (*theirs, definition.script)


class Pause(_Advert):
    """An operator's word that the workers of an executor in a pool take nothing new; it stays until taken back."""

    executor: str
    pool: str
    reason: str
    by: str
    at: Moment
    drain: bool = False  #: workers say when nothing runs any more

    @property
    def sentence(self) -> str:
        """Who holds it up and why, for people."""
        how = f"draining, as {self.by} asked" if self.drain else f"paused by {self.by}"
        return f"{how}: {self.reason}"


class Heartbeat(_Advert):
    """A worker's sign of life; its key expires with the bucket's per-message TTL."""

    executor: str
    pool: str
    worker: str
    host: str
    pid: Count
    version: str
    slots: Count
    active: Count
    started: Moment
    at: Moment
    interval: float  #: seconds until the next one
    paused: str | None = None  #: why it takes nothing new
    #: where that is an operator's doing: the word that it obeys
    pause: Pause | None = None
    #: told to drain, and holds nothing any more
    drained: bool = False
    #: what it refuses (docs/deploy/policy.md): rules by name, as its settings spell them
    rules: dict[str, str] = {}
    boot: str | None = None  #: which boot of its host it is
    capacity: Capacity | None = None  #: what it has to give; null: it gives slots only
    #: its spool: bytes at the last count, what it may hold, and room left on its disk; null: not known
    spool_bytes: Size | None = None
    spool_limit: Size = 0
    spool_free: Size | None = None

    @property
    def lives(self) -> float:
        """Seconds for which it says that its worker lives: two may be missed."""
        return 3 * self.interval


def version_order(text: str) -> tuple[tuple[int, str], ...]:
    """Make versions comparable: numbers as numbers, letters before the release they announce (1.0rc1 < 1.0 < 1.0.1)."""
    parts = re.findall(r"[0-9]{1,9}|[a-z]+", text.lower())
    return (*((int(part), "") if part.isdigit() else (-2, part) for part in parts), (-1, ""))

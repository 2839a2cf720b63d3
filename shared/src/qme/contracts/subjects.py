"""Every subject, stream, bucket, key and consumer name; nothing else in the project spells one.

Text that people choose (users, hosts, pools) enters a subject only through `token`, so that a name can neither break
out of its place nor look like somebody else's.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from qme.errors import InvalidRequest

TASKS = "QME_TASKS"
LOGS = "QME_LOGS"
EVENTS = "QME_EVENTS"

BUCKET_TASKS = "qme_tasks"
BUCKET_SPECS = "qme_specs"
BUCKET_EXECUTORS = "qme_executors"
BUCKET_USERS = "qme_users"
BUCKET_CONTROL = "qme_control"

VERBS = ("submit", "cancel", "rerun", "clear", "match")
ADMIN_VERBS = ("cancel", "rerun", "clear", "forget", "approve", "pause", "drain", "resume")
#: what a dashboard asks for on behalf of the person in front of it
BEHALF_VERBS = ADMIN_VERBS[:3]
#: names of dashboards begin so; they have to name the person whom they ask for
DASHBOARD = "dash-"

_PLAIN = re.compile(r"[a-z0-9_-]{1,48}\Z")
_EXECUTOR = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")
#: namespace of the uuids made from users' own keys; changing it would make old keys new
_KEYS = bytes.fromhex("6f0d9c1e6d0b5b8e9d570f7a3f3f2a51")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
#: names that would collide with other meanings of the same place in a subject or command
_RESERVED = frozenset({"req", "all", "last", "forget", "approve", "pause", "drain", "resume"})


def token(name: str) -> str:
    """Spell a name as one subject token: itself where plain, else ``=`` and unpadded lower-case base32 of its UTF-8."""
    if _PLAIN.match(name):
        return name
    return "=" + base64.b32encode(name.encode()).decode().rstrip("=").lower()


def untoken(text: str) -> str:
    """Give the name back that `token` spelled. Raises InvalidRequest for what `token` can't have made."""
    if not text.startswith("="):
        if _PLAIN.match(text):
            return text
        raise InvalidRequest(f"not a name token: {text!r}")
    body = text[1:].upper()
    try:
        name = base64.b32decode(body + "=" * (-len(body) % 8)).decode()
    except ValueError as error:
        raise InvalidRequest(f"not a name token: {text!r}") from error
    if token(name) != text:
        raise InvalidRequest(f"not a name token: {text!r}")
    return name


def executor_name(name: str) -> str:
    """Check an executor's name. Raises InvalidRequest, saying what is allowed."""
    if not _EXECUTOR.match(name) or name in _RESERVED:
        raise InvalidRequest(
            f"{name!r} can't be an executor's name: lower-case letters, digits and _, at most 32, a letter first"
        )
    return name


def personal_pool(user: str) -> str:
    """Name the pool of a user's own workers."""
    return "u-" + token(user)


def is_uuid(text: str) -> bool:
    """Tell whether the text is a uuid in its usual spelling."""
    return bool(_UUID.match(text))


def keyed_uuid(user: str, key: str) -> str:
    """Give the uuid (version 5) that belongs to a key of a user's own: always the same one. ``user`` is a token."""
    # Spelled out, since the standard library's uuid costs the command line more time than all of this file.
    digest = bytearray(hashlib.sha1(_KEYS + f"{user}\0{key}".encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


@dataclass(frozen=True, slots=True, order=True)
class TaskKey:
    """Where a task lives in every bucket and stream: executor, pool (a token) and uuid."""

    executor: str
    pool: str
    uuid: str

    def __str__(self) -> str:
        return f"{self.executor}.{self.pool}.{self.uuid}"

    @property
    def taskid(self) -> str:
        """The id that people see."""
        return f"{self.executor}-{self.uuid}"

    @classmethod
    def parse(cls, text: str) -> TaskKey:
        """Read ``<executor>.<pool>.<uuid>``. Raises InvalidRequest."""
        parts = text.split(".")
        if len(parts) != 3 or not all(parts):
            raise InvalidRequest(f"not a task key: {text!r}")
        return cls(*parts)


# -- task queue ------------------------------------------------------------------------------------------------------
def queue_subject(key: TaskKey) -> str:
    """Subject of the queue message of a task."""
    return f"qme.tasks.{key}"


def queue_filter(executor: str, pool: str) -> str:
    """What the consumer of one executor and pool takes from the queue."""
    return f"qme.tasks.{executor}.{pool}.*"


def consumer(executor: str, pool: str) -> str:
    """Durable consumer of one executor and pool."""
    return f"{executor}_{pool}"


def message_id(uuid: str, attempt: int) -> str:
    """Deduplication id of a task's queue message (protocol rule: a rerun is not a duplicate)."""
    return f"{uuid}.{attempt}"


# -- control plane ---------------------------------------------------------------------------------------------------
def api_subject(user: str, verb: str, *, admin: bool = False) -> str:
    """Subject of a user's request. ``user`` is a token, or ``*`` in a service's subscription."""
    return f"qme.{'admin' if admin else 'api'}.{user}.{verb}"


def action_subject(user: str, executor: str, pool: str, worker: str, *, admin: bool = False) -> str:
    """Subject of requests to the worker that holds a task. ``user`` is a token, or ``*`` in the worker's subscription.

    ``admin``: asked as an operator, which the bus allows operators only.
    """
    return (
        f"qme.{'admin' if admin else 'action'}.{user}.{'action.' if admin else ''}{executor}.{pool}.{worker}"
    )


def requester(subject: str) -> str:
    """User token that a request's subject was authenticated for. Raises InvalidRequest for another subject."""
    parts = subject.split(".")
    if len(parts) < 4 or parts[0] != "qme" or parts[1] not in ("api", "admin", "action"):
        raise InvalidRequest(f"not a request subject: {subject!r}")
    return parts[2]


def inbox(user: str) -> str:
    """Prefix of a user's private reply subjects."""
    return f"_INBOX_{user}"


#: begins the reply subject of a request from another account, made by the server; it refuses clients who name one
CROSSED = "_R_."


def reply_is_own(subject: str, reply: str) -> bool:
    """Tell whether a request asks for its answer in the requester's own inbox, or outside of this account.

    NATS does not check reply subjects: without this rule anybody could make a service write into ``$KV`` or the queue.
    """
    return reply.startswith((inbox(requester(subject)) + ".", CROSSED))


# -- output and events -----------------------------------------------------------------------------------------------
def log_subject(key: TaskKey, attempt: int, stream: str) -> str:
    """Subject of one attempt's output; ``stream`` is stdout or stderr."""
    return f"qme.logs.{key}.{attempt}.{stream}"


def log_filter(uuid: str, attempt: int | None = None, stream: str | None = None) -> str:
    """Output of a task, whatever its executor and pool: all of it, or of one attempt or stream."""
    return f"qme.logs.*.*.{uuid}.{attempt or '*'}.{stream or '*'}"


@dataclass(frozen=True, slots=True)
class LogAddress:
    """What the subject of a chunk of output says."""

    key: TaskKey
    attempt: int
    stream: str

    @classmethod
    def parse(cls, subject: str) -> LogAddress:
        """Read the subject of a chunk. Raises InvalidRequest."""
        parts = subject.split(".")
        if len(parts) != 7 or parts[:2] != ["qme", "logs"] or not parts[5].isdigit():
            raise InvalidRequest(f"not a log subject: {subject!r}")
        return cls(TaskKey(*parts[2:5]), int(parts[5]), parts[6])


def chunk_id(uuid: str, attempt: int, stream: str, offset: int) -> str:
    """Deduplication id of a chunk of output that starts at a byte offset."""
    return f"{uuid}.{attempt}.{stream}.{offset}"


#: where the server itself republishes the headers of each change of a record, for whoever follows; stored nowhere
CHANGES = "qme.changes.>"


def change_subject(key: str) -> str:
    """Where a change of the task with this key is republished."""
    return f"qme.changes.{key}"


def change_filter(uuid: str) -> str:
    """All changes of one task as they happen, whatever its executor and pool."""
    return f"qme.changes.*.*.{uuid}"


def event_of_change(subject: str) -> str:
    """Under which subject a change is stored in the audit trail."""
    return f"qme.events.{subject.removeprefix('qme.changes.')}"


def event_subject(key: TaskKey) -> str:
    """Audit trail of a task: the headers of each change of its record, copied by a submitter."""
    return f"qme.events.{key}"


def event_filter(uuid: str) -> str:
    """Audit trail of one task, whatever its executor and pool."""
    return f"qme.events.*.*.{uuid}"


def task_of_event(subject: str) -> TaskKey:
    """Tell which task an event is about. Raises InvalidRequest."""
    return TaskKey.parse(subject.removeprefix("qme.events."))


def request_event(service: str, user: str) -> str:
    """Audit subject of what a user asked of a service."""
    return f"qme.events.req.{service}.{user}"


#: everything that users asked of services
EVERY_REQUEST_EVENT = "qme.events.req.*.*"
EVERY_EVENT = "qme.events.>"
#: subjects of the task queue's stream and of the output's
EVERY_QUEUE = "qme.tasks.>"
EVERY_LOG = "qme.logs.>"


# -- key-value buckets -----------------------------------------------------------------------------------------------
def bucket_stream(bucket: str) -> str:
    """Stream behind a bucket."""
    return f"KV_{bucket}"


def bucket_subject(bucket: str, key: str) -> str:
    """Subject of one key of a bucket; the key may hold wildcards in a filter."""
    return f"$KV.{bucket}.{key}"


def bucket_key(bucket: str, subject: str) -> str:
    """Key that a bucket's subject names."""
    return subject.removeprefix(f"$KV.{bucket}.")


def any_key(uuid: str) -> str:
    """Filter for the one key of a task whose executor and pool are unknown."""
    return f"*.*.{uuid}"


def definition_key(executor: str, pool: str) -> str:
    """Key of an executor's definition in a pool."""
    return f"def.{executor}.{pool}"


def heartbeat_key(executor: str, pool: str, worker: str) -> str:
    """Key of a worker's heartbeat."""
    return f"hb.{executor}.{pool}.{worker}"


def approval_key(executor: str, pool: str) -> str:
    """Key of an operator's approval of a definition."""
    return f"ok.{executor}.{pool}"


def pause_key(executor: str, pool: str) -> str:
    """Key of an operator's word that an executor takes nothing new in a pool."""
    return f"pause.{executor}.{pool}"


#: in the bucket of control: who does the submitters' common chores; what the exporter keeps
LEADER_KEY = "leader.janitor"
EXPORTER_KEYS = "exporter.>"
TOTALS_KEY = "exporter.totals"
#: the exporter's durable consumer of the audit trail, which submitters make
EXPORTER = "exporter"


def matches(pattern: str, subject: str) -> bool:
    """Tell whether a NATS subject pattern (``*`` one token, ``>`` the rest) takes a subject."""
    want, have = pattern.split("."), subject.split(".")
    for index, part in enumerate(want):
        if part == ">":
            return len(have) > index
        if index >= len(have) or part not in ("*", have[index]):
            return False
    return len(want) == len(have)

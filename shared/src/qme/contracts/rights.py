"""Who may say and hear what on the bus: each role's subjects, exactly those that the adapter uses. Pure; no server.

Two rules shape it. Nobody but a submitter makes streams or consumers: a consumer may deliver to any subject. And a
request names the subject of its own answer, which no server checks: whoever may read a stream could have the server
write what it reads anywhere in the same account. So everybody but submitters stands in an account beside the streams',
into which only these subjects are let (`qme.auth.accounts` lays them out), and an answer goes back no further.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from qme.contracts import subjects
from qme.errors import InvalidRequest

_API = "$JS.API"
#: subjects on which a service's answers cross from one account into another; the server makes and guards them
ANSWERS = f"{subjects.CROSSED}>"
#: what NATS's own tools ask services that they look for
_DISCOVERY = "$SRV.>"

_RECORDS = subjects.bucket_stream(subjects.BUCKET_TASKS)
_SPECS = subjects.bucket_stream(subjects.BUCKET_SPECS)
_EXECUTORS = subjects.bucket_stream(subjects.BUCKET_EXECUTORS)
_USERS = subjects.bucket_stream(subjects.BUCKET_USERS)
CONTROL = subjects.bucket_stream(subjects.BUCKET_CONTROL)
#: what everybody in a team may read; specs hold what was handed along in secret, so they are not among it
READABLE = (_RECORDS, _EXECUTORS, _USERS, subjects.LOGS, subjects.EVENTS)
STREAMS = (subjects.TASKS, *READABLE, _SPECS, CONTROL)


class Role(StrEnum):
    """What an identity is for."""

    USER = "user"
    OPERATOR = "operator"
    DASHBOARD = "dashboard"
    EXPORTER = "exporter"
    WORKER = "worker"
    SUBMITTER = "submitter"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """The executor and the pool (a token) that a worker serves."""

    executor: str
    pool: str

    def __str__(self) -> str:
        return f"{self.executor}.{self.pool}"


@dataclass(frozen=True, slots=True)
class Rights:
    """Subjects that an identity may publish to and subscribe to, wildcards in them."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def rights(role: Role, user: str, place: Place | None = None) -> Rights:
    """Give the rights of an identity; `user` is its token, `place` a worker's. Raises InvalidRequest without one."""
    inbox = f"{subjects.inbox(user)}.>"
    match role:
        case Role.SUBMITTER:
            return _submitter(user, inbox)
        case Role.WORKER:
            if place is None:
                raise InvalidRequest("a worker needs an executor and a pool")
            return _worker(inbox, place)
        case Role.USER:
            asked = (*_requests(user, subjects.VERBS), actions(user))
        case Role.OPERATOR:
            asked = (
                *_requests(user, subjects.VERBS),
                *_requests(user, subjects.ADMIN_VERBS, admin=True),
                actions(user),
                actions(user, admin=True),
            )
        case Role.DASHBOARD:
            # On a person's behalf, whose rights the submitter holds it to: nothing that is an operator's alone.
            asked = _requests(user, subjects.BEHALF_VERBS, admin=True)
        case Role.EXPORTER:
            # `match` changes nothing: it shows whether a submitter answers.
            asked = (*COUNTING, *_requests(user, ("match",)))
    return Rights((*watching(), *asked), (inbox, subjects.CHANGES, subjects.EVERY_LOG))


def watching() -> tuple[str, ...]:
    """What everybody in a team may read: the readable streams, and how large the others are."""
    return (*reading(), *(size(stream) for stream in STREAMS if stream not in READABLE))


def reading(streams: Iterable[str] = READABLE) -> tuple[str, ...]:
    """What reading streams takes: pages and single messages, the leader's word, and how large they are."""
    each = (
        (pages(stream), f"{pages(stream)}.>", f"{_API}.STREAM.MSG.GET.{stream}", size(stream))
        for stream in streams
    )
    return (f"{_API}.INFO", *(subject for four in each for subject in four))


def pages(stream: str) -> str:
    """Where pages of a stream are asked for, each of which is many messages."""
    return f"{_API}.DIRECT.GET.{stream}"


def size(stream: str) -> str:
    """Where it is asked how large a stream is, and which subjects it holds."""
    return f"{_API}.STREAM.INFO.{stream}"


#: where exporters take the audit trail from, and how they acknowledge it
COUNTED = f"{_API}.CONSUMER.MSG.NEXT.{subjects.EVENTS}.{subjects.EXPORTER}"
#: what counting takes: the audit trail from its consumer, and the totals, which lie beside the janitor's lease
COUNTING = (
    COUNTED,
    f"$JS.ACK.{subjects.EVENTS}.{subjects.EXPORTER}.>",
    subjects.bucket_subject(subjects.BUCKET_CONTROL, subjects.EXPORTER_KEYS),
    *reading((CONTROL,)),
)


def pulling(place: Place) -> str:
    """Where a worker asks for tasks, with many messages for an answer."""
    return f"{_API}.CONSUMER.MSG.NEXT.{subjects.TASKS}.{subjects.consumer(place.executor, place.pool)}"


def working(place: Place) -> tuple[str, ...]:
    """What a worker says to the streams' account: reads, the queue, and writes under its own executor and pool."""
    key, (executor, pool) = str(place), (place.executor, place.pool)
    records, executors = subjects.BUCKET_TASKS, subjects.BUCKET_EXECUTORS
    definition = subjects.bucket_subject(executors, subjects.definition_key(executor, pool))
    heartbeats = subjects.bucket_subject(executors, subjects.heartbeat_key(executor, pool, "*"))
    return (
        *reading((_RECORDS, subjects.LOGS)),
        size(_SPECS),
        size(_EXECUTORS),
        # By key alone, so that the specs of other pools stay unread; the leader's word can't be had by key.
        f"{pages(_SPECS)}.{subjects.bucket_subject(subjects.BUCKET_SPECS, f'{key}.*')}",
        f"{pages(_EXECUTORS)}.{definition}",
        f"{pages(_EXECUTORS)}.{subjects.bucket_subject(executors, subjects.pause_key(executor, pool))}",
        f"{pages(_EXECUTORS)}.{heartbeats}",
        pulling(place),
        f"$JS.ACK.{subjects.TASKS}.{subjects.consumer(executor, pool)}.>",
        subjects.bucket_subject(records, f"{key}.*"),
        definition,
        heartbeats,
        output(place),
    )


def output(place: Place) -> str:
    """Where the output of a pool's tasks goes."""
    return f"qme.logs.{place}.>"


def served(place: Place) -> tuple[str, ...]:
    """Requests that the workers of a pool answer: those of anybody, and those of operators."""
    return tuple(
        subjects.action_subject("*", place.executor, place.pool, "*", admin=admin) for admin in (False, True)
    )


def actions(user: str, *, admin: bool = False) -> str:
    """Requests of a user to any worker."""
    return subjects.action_subject(user, "*", "*", "*", admin=admin)


def _requests(user: str, verbs: Iterable[str], *, admin: bool = False) -> tuple[str, ...]:
    return tuple(subjects.api_subject(user, verb, admin=admin) for verb in verbs)


def _worker(inbox: str, place: Place) -> Rights:
    # Its own signs of life, as it gives them: a connection that was interrupted shows there.
    signs = subjects.bucket_subject(
        subjects.BUCKET_EXECUTORS, subjects.heartbeat_key(place.executor, place.pool, "*")
    )
    return Rights((*working(place), ANSWERS), (inbox, signs, *served(place), _DISCOVERY))


def _submitter(user: str, inbox: str) -> Rights:
    # The last three are for `qme backup` and `restore`, which take a key that may do everything.
    verbs = ("CREATE", "UPDATE", "SNAPSHOT", "RESTORE", "DELETE")
    making = (f"{_API}.STREAM.{verb}.{name}" for verb in verbs for name in STREAMS)
    purging = (f"{_API}.STREAM.PURGE.{name}" for name in STREAMS if name != subjects.EVENTS)
    consumers = (
        f"{_API}.CONSUMER.CREATE.{subjects.TASKS}.>",
        f"{_API}.CONSUMER.CREATE.{subjects.EVENTS}.{subjects.EXPORTER}.>",
        f"{_API}.CONSUMER.DELETE.{subjects.TASKS}.*",
    )
    buckets = (
        subjects.BUCKET_TASKS,
        subjects.BUCKET_SPECS,
        subjects.BUCKET_EXECUTORS,
        subjects.BUCKET_USERS,
        subjects.BUCKET_CONTROL,
    )
    return Rights(
        (
            *reading(STREAMS),
            f"{_API}.STREAM.NAMES",
            *making,
            *purging,
            *consumers,
            *(subjects.bucket_subject(bucket, ">") for bucket in buckets),
            subjects.EVERY_QUEUE,
            subjects.EVERY_EVENT,
            actions(user),
            subjects.api_subject(user, "match"),
            "$JS.SNAPSHOT.>",
            inbox,
            ANSWERS,
        ),
        (
            inbox,
            *(subjects.api_subject("*", "*", admin=admin) for admin in (False, True)),
            subjects.CHANGES,
            subjects.bucket_subject(subjects.BUCKET_EXECUTORS, ">"),
            _DISCOVERY,
        ),
    )

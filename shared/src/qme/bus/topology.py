"""The streams, buckets and consumers of qme as data. An adapter turns them into its own configuration; nothing here
talks to a bus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qme.contracts import subjects
from qme.settings import Settings

DAY = 86_400.0
MIB = 1024 * 1024
#: seconds until a message is handed out again that went to a connection, or a NATS node, which is gone. A claim takes
#: milliseconds, and a message that comes again while its task is being claimed does no harm.
ACK_WAIT = 10.0
#: seconds during which a repeated message id is recognised
DUPLICATE_WINDOW = 120.0


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One stream. `retention` is "limits" (keep until a limit) or "work" (remove when acknowledged)."""

    name: str
    subjects: tuple[str, ...]
    retention: Literal["limits", "work"] = "limits"
    #: what gives way when a limit is reached: the oldest message or the new one
    discard: Literal["old", "new"] = "new"
    max_age: float | None = None  #: seconds
    max_bytes: int | None = None
    max_per_subject: int | None = None
    message_ttl: bool = False  #: messages may carry a time to live of their own
    #: (pattern, destination): each stored message's headers are republished there, without the body
    republish: tuple[str, str] | None = None
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class ConsumerSpec:
    """A durable pull consumer with explicit acknowledgement and no limit on deliveries."""

    stream: str
    name: str
    filter: str
    ack_wait: float = ACK_WAIT  #: seconds until an unacknowledged message is handed out again
    max_ack_pending: int = 10_000


def bucket(
    name: str, *, replicas: int, max_bytes: int | None = None, republish: tuple[str, str] | None = None
) -> StreamSpec:
    """Describe a key-value bucket with history 1, per-message TTL and no way to roll up other writers' keys."""
    return StreamSpec(
        name=subjects.bucket_stream(name),
        subjects=(subjects.bucket_subject(name, ">"),),
        max_per_subject=1,
        max_bytes=max_bytes,
        message_ttl=True,
        republish=republish,
        replicas=replicas,
    )


def streams(settings: Settings) -> tuple[StreamSpec, ...]:
    """All streams and buckets, with the limits from the settings.

    Only logs and events give way to newer ones; the queue and the records refuse what is new, so nothing accepted is
    ever pushed out.
    """
    replicas = settings.replicas
    return (
        StreamSpec(
            subjects.TASKS,
            (subjects.EVERY_QUEUE,),
            retention="work",
            max_bytes=settings.tasks_max_bytes,
            replicas=replicas,
        ),
        StreamSpec(
            subjects.LOGS,
            (subjects.EVERY_LOG,),
            discard="old",
            max_age=settings.logs_max_age,
            max_bytes=settings.logs_max_bytes,
            replicas=replicas,
        ),
        StreamSpec(
            subjects.EVENTS,
            (subjects.EVERY_EVENT,),
            discard="old",
            max_age=settings.events_max_age,
            max_bytes=settings.events_max_bytes,
            replicas=replicas,
        ),
        bucket(
            subjects.BUCKET_TASKS,
            replicas=replicas,
            max_bytes=settings.records_max_bytes,
            republish=(subjects.bucket_subject(subjects.BUCKET_TASKS, ">"), subjects.CHANGES),
        ),
        bucket(subjects.BUCKET_SPECS, replicas=replicas, max_bytes=settings.specs_max_bytes),
        bucket(subjects.BUCKET_EXECUTORS, replicas=replicas),
        bucket(subjects.BUCKET_USERS, replicas=replicas),
        bucket(subjects.BUCKET_CONTROL, replicas=replicas),
    )


def audit_consumer() -> ConsumerSpec:
    """Describe the consumer that hands the audit trail to exporters."""
    return ConsumerSpec(subjects.EVENTS, subjects.EXPORTER, subjects.EVERY_EVENT)


def consumer(executor: str, pool: str, ack_wait: float = ACK_WAIT) -> ConsumerSpec:
    """Describe the consumer of one executor and pool."""
    return ConsumerSpec(
        subjects.TASKS,
        subjects.consumer(executor, pool),
        subjects.queue_filter(executor, pool),
        ack_wait=ack_wait,
    )

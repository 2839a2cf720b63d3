"""Every metric of the exporter: name, kind, labels, meaning. No numbers.

Times are moments in seconds since the epoch, so that a page that is read late is not wrong: subtract from `time()`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

PLACE = ("executor", "pool")


class Metric(NamedTuple):
    """A metric; counters without their `_total`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


SUBMITTED = Metric("qme_tasks_submitted", "counter", "Tasks accepted", PLACE)
FINISHED = Metric("qme_tasks_finished", "counter", "Tasks ended, by how", (*PLACE, "outcome"))
CORRECTED = Metric(
    "qme_tasks_corrected",
    "counter",
    "Ends that replace one told before (given up for lost and was not), by what is true; not in finished again",
    (*PLACE, "outcome"),
)
ATTEMPTS = Metric("qme_task_attempts", "counter", "Attempts begun: first, retry, rerun", (*PLACE, "kind"))
WAIT = Metric(
    "qme_task_queue_wait_seconds",
    "histogram",
    "From a worker being allowed to take it to its start",
    PLACE[:1],
)
RUN = Metric(
    "qme_task_run_duration_seconds",
    "histogram",
    "From its start to its end: ok or not_ok",
    (*PLACE[:1], "outcome_class"),
)
COUNTERS = (SUBMITTED, FINISHED, CORRECTED, ATTEMPTS)
HISTOGRAMS = (WAIT, RUN)

TASKS = Metric("qme_tasks", "gauge", "Tasks that have not ended, by status", (*PLACE, "status"))
OLDEST = Metric(
    "qme_backlog_oldest_timestamp_seconds",
    "gauge",
    "Since when the oldest queued task could have been taken; no series where none waits",
    PLACE,
)
WORKERS = Metric("qme_workers", "gauge", "Workers alive", PLACE)
PAUSED = Metric("qme_workers_paused", "gauge", "Workers alive that take nothing new", PLACE)
HELD_BACK = Metric("qme_executor_paused", "gauge", "Pools that an operator has paused or drains", PLACE)
SLOTS = Metric("qme_slots", "gauge", "Tasks that its workers run at a time", PLACE)
SLOTS_USED = Metric("qme_slots_used", "gauge", "Tasks that its workers hold now", PLACE)
SPOOL = Metric("qme_spool_bytes", "gauge", "The spool of the worker whose spool is fullest", PLACE)
SPOOL_MAX = Metric("qme_spool_max_bytes", "gauge", "What that worker's spool may hold (spool_limit)", PLACE)
SPOOL_FREE = Metric(
    "qme_spool_free_bytes", "gauge", "Room on the disk of the spool, where it is least", PLACE
)
STREAM = Metric("qme_stream_bytes", "gauge", "What a stream or bucket holds", ("stream",))
STREAM_MAX = Metric(
    "qme_stream_max_bytes", "gauge", "What it may hold; no series without a limit", ("stream",)
)
STREAM_MESSAGES = Metric("qme_stream_messages", "gauge", "Messages or keys in it", ("stream",))
JANITOR = Metric(
    "qme_janitor_seen_timestamp_seconds", "gauge", "When a submitter last said that it does the chores"
)
SUBMITTER = Metric("qme_submitter_up", "gauge", "A submitter answered just now")
ANSWER = Metric("qme_submitter_answer_seconds", "gauge", "How long it took")
CONNECTED = Metric("qme_exporter_connected", "gauge", "The exporter has its connection to the bus")
LOOKED = Metric(
    "qme_exporter_looked_timestamp_seconds",
    "gauge",
    "When it last saw how things stand; after a minute without, those gauges are left out",
)
BEHIND = Metric("qme_exporter_behind_events", "gauge", "Events of the audit trail not counted yet")
SAVED = Metric("qme_exporter_saved_timestamp_seconds", "gauge", "When totals were last saved")
REPEATED = Metric("qme_exporter_repeated", "counter", "Events met that were counted before")
#: how things stand; left out where the exporter can't see
STANDING = (
    TASKS, OLDEST, WORKERS, PAUSED, HELD_BACK, SLOTS, SLOTS_USED, SPOOL, SPOOL_MAX, SPOOL_FREE, STREAM, STREAM_MAX,
    STREAM_MESSAGES, JANITOR, SUBMITTER, ANSWER, BEHIND,
)  # fmt: skip
OWN = (CONNECTED, LOOKED, SAVED, REPEATED)
ALL = (*COUNTERS, *HISTOGRAMS, *STANDING, *OWN)

#: upper bounds in seconds
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
BUCKETS = {
    WAIT.name: (0.1, 0.3, 1, 3, 10, 30, MINUTE, 3 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 10 * HOUR,
                DAY, 3 * DAY, 7 * DAY),
    RUN.name: (1, 3, 10, 30, MINUTE, 3 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 10 * HOUR, DAY, 3 * DAY,
               7 * DAY, 14 * DAY),
}  # fmt: skip

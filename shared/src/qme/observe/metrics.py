"""The Prometheus metrics of a worker and of a submitter: what that process itself did. No HTTP here.

Totals over all tasks (``qme_tasks_*``) are the exporter's alone: counted here as well, they would count
twice. Labels come from fixed sets, never from what people type; an unknown value counts as ``other``.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics

from qme.contracts.tasks import Outcome

# A *_created series beside each counter doubles the page, and nobody reads them.
disable_created_metrics()  # type: ignore[no-untyped-call]

OTHER = "other"
RESULTS = ("ok", "refused", "error")


class WorkerMetrics:
    """What one worker counts about itself, ``qme_worker_*``; every series exists from the start, at 0."""

    def __init__(self, registry: CollectorRegistry, executor: str, slots: int) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"qme_worker_{name}", text, ["executor"], registry=registry).labels(executor)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"qme_worker_{name}", text, ["executor"], registry=registry).labels(executor)

        self.started = counter("tasks_started", "Attempts this worker started")
        self.active = gauge("active_tasks", "Tasks this worker holds now")
        self.slots = gauge("slots", "Tasks this worker runs at a time")
        self.log_bytes = counter("log_bytes", "Output sent to the bus, in bytes")
        self.write_conflicts = counter("write_conflicts", "Record writes repeated after somebody else's")
        self.corrected = counter("tasks_corrected", "Tasks given up for lost that were not")
        self.slots.set(slots)
        ended = Counter(
            "qme_worker_tasks_ended", "Attempts that ended here", ["executor", "outcome"], registry=registry
        )
        self._ended = {outcome: ended.labels(executor, outcome) for outcome in (*Outcome, OTHER)}

    def ended(self, outcome: str) -> None:
        """Count the end of an attempt."""
        self._ended.get(outcome, self._ended[OTHER]).inc()


class SubmitterMetrics:
    """What one submitter counts about itself, ``qme_submitter_*``; every series exists from the start, at 0."""

    def __init__(self, registry: CollectorRegistry, verbs: Iterable[str]) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"qme_submitter_{name}", text, registry=registry)

        self.unroutable = counter("unroutable", "Submissions that no executor matched")
        self.deduplicated = counter("deduplicated", "Submissions that were there already")
        self.republished = counter("republished", "Queue messages the janitor sent again")
        self.retried = counter("retried", "Retries the janitor released")
        self.lost = counter("lost", "Tasks the janitor gave up for lost, their workers being silent")
        requests = Counter(
            "qme_submitter_requests", "Requests answered", ["verb", "result"], registry=registry
        )
        self._requests = {
            (verb, result): requests.labels(verb, result) for verb in (*verbs, OTHER) for result in RESULTS
        }

    def request(self, verb: str, result: str) -> None:
        """Count an answered request, by one of `RESULTS`: ok, refused (the user's doing) or error (ours)."""
        self._requests.get((verb, result), self._requests[OTHER, result]).inc()

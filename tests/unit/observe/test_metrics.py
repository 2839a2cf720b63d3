"""Metrics: every series is there from the start, and labels stay within their sets."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from qme.contracts.tasks import Outcome
from qme.observe.metrics import SubmitterMetrics, WorkerMetrics


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry of the test's own."""
    return CollectorRegistry()


def series(registry: CollectorRegistry) -> dict[str, float]:
    """What /metrics would say, without comments."""
    rows = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (row.rsplit(" ", 1) for row in rows)}


def test_a_worker_starts_with_every_series_at_zero(registry: CollectorRegistry) -> None:
    """A rate over a series that appears with its first event misses that event."""
    WorkerMetrics(registry, "shell", slots=2)
    expected = {
        'qme_worker_tasks_started_total{executor="shell"}': 0.0,
        'qme_worker_active_tasks{executor="shell"}': 0.0,
        'qme_worker_slots{executor="shell"}': 2.0,
        'qme_worker_log_bytes_total{executor="shell"}': 0.0,
        'qme_worker_write_conflicts_total{executor="shell"}': 0.0,
        'qme_worker_tasks_corrected_total{executor="shell"}': 0.0,
    }
    for outcome in (*Outcome, "other"):
        expected[f'qme_worker_tasks_ended_total{{executor="shell",outcome="{outcome}"}}'] = 0.0
    assert series(registry) == expected


def test_a_worker_counts(registry: CollectorRegistry) -> None:
    """Each event moves its own series and no other."""
    metrics = WorkerMetrics(registry, "shell", slots=2)
    before = series(registry)
    metrics.started.inc()
    metrics.active.inc()
    metrics.log_bytes.inc(512)
    metrics.write_conflicts.inc()
    metrics.ended(Outcome.TIMEOUT)
    metrics.ended("timeout")
    after = series(registry)
    assert {name: value for name, value in after.items() if value != before[name]} == {
        'qme_worker_tasks_started_total{executor="shell"}': 1.0,
        'qme_worker_active_tasks{executor="shell"}': 1.0,
        'qme_worker_log_bytes_total{executor="shell"}': 512.0,
        'qme_worker_write_conflicts_total{executor="shell"}': 1.0,
        'qme_worker_tasks_ended_total{executor="shell",outcome="timeout"}': 2.0,
    }


def test_a_submitter_counts(registry: CollectorRegistry) -> None:
    """Requests by verb and result, and what became of them."""
    metrics = SubmitterMetrics(registry, ["submit", "cancel"])
    assert len(series(registry)) == 5 + 3 * 3
    metrics.request("submit", "ok")
    metrics.request("submit", "refused")
    metrics.unroutable.inc()
    metrics.deduplicated.inc()
    metrics.republished.inc(3)
    metrics.retried.inc(2)
    metrics.lost.inc()
    assert {name: value for name, value in series(registry).items() if value} == {
        'qme_submitter_requests_total{result="ok",verb="submit"}': 1.0,
        'qme_submitter_requests_total{result="refused",verb="submit"}': 1.0,
        "qme_submitter_unroutable_total": 1.0,
        "qme_submitter_deduplicated_total": 1.0,
        "qme_submitter_republished_total": 3.0,
        "qme_submitter_retried_total": 2.0,
        "qme_submitter_lost_total": 1.0,
    }


def test_what_people_type_never_becomes_a_label(registry: CollectorRegistry) -> None:
    """An unknown verb or outcome counts as other: the number of series is fixed."""
    worker, submitter = WorkerMetrics(registry, "shell", 1), SubmitterMetrics(registry, ["submit"])
    before = set(series(registry))
    worker.ended("exploded")
    submitter.request("'; drop", "ok")
    after = series(registry)
    assert set(after) == before
    assert after['qme_worker_tasks_ended_total{executor="shell",outcome="other"}'] == 1.0
    assert after['qme_submitter_requests_total{result="ok",verb="other"}'] == 1.0


def test_a_result_outside_the_set_is_a_bug(registry: CollectorRegistry) -> None:
    """Results are ours to name."""
    with pytest.raises(KeyError):
        SubmitterMetrics(registry, ["submit"]).request("submit", "fine")

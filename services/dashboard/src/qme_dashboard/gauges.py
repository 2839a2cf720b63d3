"""What the dashboard tells Prometheus: how many tasks stand where, and how fresh its copy is. Gauges only.

Totals over time are the exporter's: a copy that can begin anew has none.
"""

from __future__ import annotations

import time

from prometheus_client import CONTENT_TYPE_LATEST as MEDIA_TYPE
from prometheus_client import CollectorRegistry, Gauge, Info, generate_latest

import qme
from qme_dashboard import queries
from qme_dashboard.hub import Hub

__all__ = ["MEDIA_TYPE", "page"]


def page(hub: Hub) -> bytes:
    """Give the page as it stands now."""
    return generate_latest(families(hub))


def families(hub: Hub) -> CollectorRegistry:
    """Give the gauges as they stand now."""
    registry = CollectorRegistry()
    Info("qme_build", "Version of a service", registry=registry).info(
        {"version": qme.__version__, "service": "dashboard"}
    )
    up = Gauge("qme_dashboard_up", "The copy of the records is whole and the bus is there", registry=registry)
    up.set(hub.ready)
    if hub.store.loaded:
        tasks = Gauge("qme_dashboard_tasks", "Tasks as they stand now", ["state"], registry=registry)
        for name, count in hub.store.groups().items():
            tasks.labels(name).set(count)
        oldest = Gauge(
            "qme_dashboard_oldest_queued_seconds", "Age of the oldest queued task", registry=registry
        )
        begun = [row["oldest"] for row in hub.store.rows(queries.backlog())]
        oldest.set(max(time.time() - min(begun), 0.0) if begun else 0.0)
    workers = Gauge("qme_dashboard_workers", "Workers alive", registry=registry)
    workers.set(sum(len(known.workers) for known in hub.executors))
    return registry

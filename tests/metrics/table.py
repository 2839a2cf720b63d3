"""The tables of docs/deploy/metrics.md, from the code that makes the metrics: `make metrics` prints them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from qme.client.mirroring import Batch
from qme.contracts.subjects import VERBS
from qme.exporter import catalog
from qme.observe.metrics import SubmitterMetrics, WorkerMetrics
from qme.settings import Settings, options
from qme_dashboard import gauges
from qme_dashboard.hub import Hub
from qme_executor_slurm.metrics import SlurmMetrics

#: the settings that decide where a page is, and who reads it
SETTINGS = (
    "metrics_port",
    "metrics_host",
    "metrics_token",
    "metrics_interval",
    "dashboard_host",
    "dashboard_port",
)
#: labels that prometheus-client adds to the samples of histograms
_OF_SAMPLES = {"le"}


class Row(NamedTuple):
    """One metric."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


def exporter() -> list[Row]:
    """What the exporter shows."""
    return [
        Row(one.name + ("_total" if one.kind == "counter" else ""), one.kind, one.labels, one.help)
        for one in catalog.ALL
    ]


def submitter() -> list[Row]:
    """What each submitter shows."""
    registry = CollectorRegistry()
    SubmitterMetrics(registry, VERBS)
    return list(_rows(registry))


def worker() -> list[Row]:
    """What each worker shows."""
    registry = CollectorRegistry()
    WorkerMetrics(registry, "shell", 2)
    return list(_rows(registry))


def slurm() -> list[Row]:
    """What a worker of the Slurm executor shows besides."""
    registry = CollectorRegistry()
    SlurmMetrics().register(registry)
    return list(_rows(registry))


def dashboard() -> list[Row]:
    """What the dashboard shows."""
    with tempfile.TemporaryDirectory() as folder:
        hub = Hub(Settings(home=Path(folder), nats_url="nats://127.0.0.1:1"))
        hub.store.apply(Batch(fresh=True, whole=True))
        rows = list(_rows(gauges.families(hub)))
        hub.store.close()
    return [row for row in rows if row.kind != "info"]


def _rows(registry: Collector) -> Iterator[Row]:
    for family in registry.collect():
        labels: dict[str, None] = {}
        for sample in family.samples:
            labels |= dict.fromkeys(sample.labels)
        name = family.name + ("_total" if family.type == "counter" else "")
        yield Row(
            name,
            family.type,
            tuple(label for label in labels if label not in _OF_SAMPLES),
            family.documentation,
        )


GROUPS = {
    "The exporter: the whole bus, counted once": exporter,
    "Each submitter": submitter,
    "Each worker": worker,
    "Each Slurm worker, besides": slurm,
    "The dashboard": dashboard,
}


def tables() -> str:
    """Give all tables as Markdown."""
    parts = [_settings()]
    for title, rows in GROUPS.items():
        lines = [f"| `{row.name}` | {row.kind} | {', '.join(row.labels)} | {row.help} |" for row in rows()]
        parts.append(
            "\n".join(
                (f"## {title}", "", "| metric | kind | labels | meaning |", "|---|---|---|---|", *lines)
            )
        )
    return "\n\n".join(parts) + "\n"


def _settings() -> str:
    table, defaults = options(Settings), Settings(home=Path("/"))
    lines: Iterable[str] = (
        f"| `{key}` | `QME_{key.upper()}` | {_default(getattr(defaults, key))} | {table[key].summary} |"
        for key in SETTINGS
    )
    return "\n".join(("| setting | variable | default | what it is |", "|---|---|---|---|", *lines))


def _default(value: object) -> str:
    return "unset" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    print(tables(), end="")  # noqa: T201

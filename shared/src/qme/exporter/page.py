"""What Prometheus reads of the exporter: the saved totals, and how things stood at the last look. Asks nobody.

It is read in threads of the page's server, while the loop goes on: what it reads is replaced whole, never changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from qme.client.executors import Known
from qme.contracts import subjects
from qme.contracts.executors import Heartbeat
from qme.contracts.tasks import Status
from qme.exporter import catalog
from qme.exporter.backlog import Place
from qme.exporter.catalog import Metric
from qme.exporter.labels import Places
from qme.exporter.looking import Standing, by_place
from qme.exporter.totals import Totals

#: seconds after which a look is too old to be shown
OLD = 60.0

Labels = tuple[str, ...]
Rows = Iterable[tuple[Labels, float]]


@dataclass(frozen=True)
class Sight:
    """All that the page shows, of one moment."""

    totals: Totals
    saved_at: float  #: 0: the totals have not been read yet
    repeated: int
    connected: bool
    standing: Standing | None


class Page(Collector):
    """The exporter's metrics; `look` gives what to show."""

    def __init__(self, look: Callable[[], Sight], clock: Callable[[], float] = time.time) -> None:
        self._look = look
        self._clock = clock

    def collect(self) -> Iterator[Family]:
        """Give all that is known now."""
        sight = self._look()
        if sight.saved_at:
            yield from _counted(sight.totals)
        standing = sight.standing
        if standing is not None and self._clock() - standing.at <= OLD:
            labels = _labels(sight.totals.places)
            yield from _of_streams(standing, sight)
            yield from _of_workers(standing.executors, labels)
            if standing.tasks is not None:
                yield from _of_tasks(standing, standing.tasks, labels)
        yield _gauge(catalog.CONNECTED, [((), float(sight.connected))])
        yield _gauge(catalog.LOOKED, [((), standing.at if standing else 0.0)])
        yield _gauge(catalog.SAVED, [((), sight.saved_at)])
        repeated = CounterMetricFamily(catalog.REPEATED.name, catalog.REPEATED.help)
        repeated.add_metric((), sight.repeated)
        yield repeated


def _labels(places: Places) -> Callable[[str, str], Labels]:
    # A copy: names that are met here first must not take the place of counted ones.
    own = Places(places.executors.known, places.pools.known)
    return own.labels


def _counted(totals: Totals) -> Iterator[Family]:
    for metric in catalog.COUNTERS:
        family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, count in sorted(totals.counts(metric)):
            family.add_metric(labels, count)
        yield family
    for metric in catalog.HISTOGRAMS:
        spread = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        bounds = [*(str(float(bound)) for bound in catalog.BUCKETS[metric.name]), "+Inf"]
        for labels, buckets, total in totals.spreads(metric):
            upto = [sum(buckets[: at + 1]) for at in range(len(buckets))]
            spread.add_metric(labels, list(zip(bounds, upto, strict=True)), total)
        yield spread


def _of_streams(standing: Standing, sight: Sight) -> Iterator[Family]:
    states = standing.streams
    limits = {name: state.max_bytes for name, state in states.items()}
    yield _gauge(catalog.STREAM, (((name,), state.bytes) for name, state in states.items()))
    yield _gauge(catalog.STREAM_MAX, (((name,), limit) for name, limit in limits.items() if limit))
    yield _gauge(catalog.STREAM_MESSAGES, (((name,), state.messages) for name, state in states.items()))
    yield _gauge(catalog.JANITOR, [((), standing.janitor)])
    yield _gauge(catalog.SUBMITTER, [((), float(standing.answer is not None))])
    if standing.answer is not None:
        yield _gauge(catalog.ANSWER, [((), standing.answer)])
    if sight.saved_at:
        behind = states[subjects.EVENTS].last - sight.totals.position
        yield _gauge(catalog.BEHIND, [((), max(behind, 0))])


def _of_workers(executors: Sequence[Known], label: Callable[[str, str], Labels]) -> Iterator[Family]:
    together = by_place(executors, label)
    workers = {labels: [beat for one in found for beat in one.workers] for labels, found in together.items()}

    def summed(metric: Metric, number: Callable[[Heartbeat], float]) -> Family:
        return _gauge(metric, ((labels, sum(map(number, beats))) for labels, beats in workers.items()))

    paused = ((labels, sum(one.pause is not None for one in found)) for labels, found in together.items())
    yield _gauge(catalog.HELD_BACK, paused)
    yield summed(catalog.WORKERS, lambda _: 1)
    yield summed(catalog.PAUSED, lambda beat: beat.paused is not None)
    yield summed(catalog.SLOTS, lambda beat: beat.slots)
    yield summed(catalog.SLOTS_USED, lambda beat: beat.active)
    fullest = {
        labels: max(told, key=lambda sizes: sizes[0] / max(sizes[1], 1))
        for labels, beats in workers.items()
        if (told := [(beat.spool_bytes, beat.spool_limit) for beat in beats if beat.spool_bytes is not None])
    }
    yield _gauge(catalog.SPOOL, ((labels, sizes[0]) for labels, sizes in fullest.items()))
    yield _gauge(catalog.SPOOL_MAX, ((labels, sizes[1]) for labels, sizes in fullest.items()))
    free = {
        labels: [beat.spool_free for beat in beats if beat.spool_free is not None]
        for labels, beats in workers.items()
    }
    yield _gauge(catalog.SPOOL_FREE, ((labels, min(told)) for labels, told in free.items() if told))


def _of_tasks(
    standing: Standing, tasks: Mapping[tuple[Place, Status], int], label: Callable[[str, str], Labels]
) -> Iterator[Family]:
    numbers: dict[Labels, float] = {
        (*label(*place), status.value): 0
        for place in sorted(standing.places)
        for status in (Status.QUEUED, Status.RUNNING)
    }
    for (place, status), count in sorted(tasks.items()):
        labels = (*label(*place), status.value)
        numbers[labels] = numbers.get(labels, 0) + count
    yield _gauge(catalog.TASKS, numbers.items())
    oldest: dict[Labels, float] = {}
    for place, since in standing.oldest.items():
        oldest[label(*place)] = min(oldest.get(label(*place), since), since)
    yield _gauge(catalog.OLDEST, oldest.items())


def _gauge(metric: Metric, rows: Rows) -> Family:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in rows:
        family.add_metric(labels, value)
    return family

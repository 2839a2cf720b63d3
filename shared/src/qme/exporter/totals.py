"""The totals and how one event of the audit trail changes them. Pure: no bus, no clock.

What is saved holds the window of counted changes too (`seen`), so that both are always of one moment: whatever is
handed out again after a crash is known.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from qme.bus.port import Message
from qme.contracts import subjects
from qme.contracts.tasks import (
    HEADER_CORRECTED,
    HEADER_OUTCOME,
    HEADER_RAN,
    HEADER_REVISION,
    HEADER_STEPS,
    HEADER_WAITED,
    Outcome,
    Step,
)
from qme.exporter import catalog
from qme.exporter.catalog import Metric
from qme.exporter.labels import OTHER, Places
from qme.exporter.seen import Seen

KINDS = {Step.SUBMITTED: "first", Step.RETRIED: "retry", Step.RERUN: "rerun"}
OK, NOT_OK = "ok", "not_ok"
_OUTCOMES = frozenset(outcome.value for outcome in Outcome)

Labels = tuple[str, ...]
T = TypeVar("T")


class Saved(BaseModel):
    """The totals as they lie on the bus."""

    model_config = ConfigDict(extra="allow")

    position: int = 0  #: the highest sequence of the audit trail among what was counted
    top: int = 0
    seen: str = ""
    executors: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    #: metric, then labels with commas, which no label has
    counts: dict[str, dict[str, int]] = {}
    #: the same, to the numbers of each bucket (the last one: above all bounds) and the sum
    spreads: dict[str, dict[str, tuple[list[int], float]]] = {}


class Totals:
    """What was counted up to a moment."""

    def __init__(self, saved: Saved | None = None) -> None:
        saved = saved or Saved()
        self.position = saved.position
        self.seen = Seen.load(saved.top, saved.seen)
        self.places = Places(saved.executors, saved.pools)
        self.repeated = 0  #: events met again by this process
        self._counts: dict[str, dict[Labels, int]] = {
            metric.name: _by_labels(saved.counts.get(metric.name, {})) for metric in catalog.COUNTERS
        }
        self._spreads: dict[str, dict[Labels, tuple[list[int], float]]] = {
            metric.name: _by_labels(saved.spreads.get(metric.name, {})) for metric in catalog.HISTOGRAMS
        }

    def save(self) -> Saved:
        """Give what `Totals` can be made of again."""
        return Saved(
            position=self.position,
            top=self.seen.top,
            seen=self.seen.dump(),
            executors=self.places.executors.known,
            pools=self.places.pools.known,
            counts={name: _by_text(table) for name, table in self._counts.items()},
            spreads={name: _by_text(table) for name, table in self._spreads.items()},
        )

    def know(self, places: Iterable[tuple[str, str]]) -> bool:
        """Let the series of executors and pools begin at 0, and tell whether any did.

        A rate misses the first event of a series that begins with it.
        """
        submitted = self._counts[catalog.SUBMITTED.name]
        before = len(submitted)
        for executor, pool in places:
            self._begin(self.places.labels(executor, pool))
        return len(submitted) > before

    def count(self, event: Message) -> bool:
        """Count an event; tells whether it counted. One without steps, or met before, does not."""
        self.position = max(self.position, event.seq)
        steps = _steps(event)
        revision = event.headers.get(HEADER_REVISION, "")
        if not steps or not revision.isdigit():
            return False
        if int(revision) in self.seen:
            self.repeated += 1
            return False
        self.seen.add(int(revision))
        key = subjects.task_of_event(event.subject)
        place = self.places.labels(key.executor, key.pool)
        self._begin(place)
        for step in steps:
            self._take(step, place, event)
        return True

    def counts(self, metric: Metric) -> Iterator[tuple[Labels, int]]:
        """Give a counter's series."""
        yield from self._counts[metric.name].items()

    def spreads(self, metric: Metric) -> Iterator[tuple[Labels, list[int], float]]:
        """Give a histogram's series: the numbers of each bucket, and the sum."""
        for labels, (buckets, total) in self._spreads[metric.name].items():
            yield labels, buckets, total

    def _take(self, step: Step, place: Labels, event: Message) -> None:
        if step in KINDS:
            self._add(catalog.ATTEMPTS, *place, KINDS[step])
        if step is Step.SUBMITTED:
            self._add(catalog.SUBMITTED, *place)
        elif step is Step.STARTED:
            self._observe(catalog.WAIT, event.headers.get(HEADER_WAITED), place[0])
        elif step is Step.ENDED:
            told = event.headers.get(HEADER_OUTCOME, "")
            outcome = told if told in _OUTCOMES else OTHER
            if HEADER_CORRECTED in event.headers:
                self._add(catalog.CORRECTED, *place, outcome)
                return
            self._add(catalog.FINISHED, *place, outcome)
            ok = OK if outcome == Outcome.SUCCESS else NOT_OK
            self._observe(catalog.RUN, event.headers.get(HEADER_RAN), place[0], ok)

    def _begin(self, place: Labels) -> None:
        self._counts[catalog.SUBMITTED.name].setdefault(place, 0)
        for outcome in Outcome:
            self._counts[catalog.FINISHED.name].setdefault((*place, outcome.value), 0)
            self._counts[catalog.CORRECTED.name].setdefault((*place, outcome.value), 0)
        for kind in KINDS.values():
            self._counts[catalog.ATTEMPTS.name].setdefault((*place, kind), 0)
        self._spread(catalog.WAIT, (place[0],))
        for ok in (OK, NOT_OK):
            self._spread(catalog.RUN, (place[0], ok))

    def _add(self, metric: Metric, *labels: str) -> None:
        table = self._counts[metric.name]
        table[labels] = table.get(labels, 0) + 1

    def _observe(self, metric: Metric, text: str | None, *labels: str) -> None:
        seconds = -1.0
        with suppress(ValueError):
            seconds = float(text or "")
        if 0.0 <= seconds < float("inf"):
            buckets, total = self._spread(metric, labels)
            buckets[bisect_left(catalog.BUCKETS[metric.name], seconds)] += 1
            self._spreads[metric.name][labels] = (buckets, total + seconds)

    def _spread(self, metric: Metric, labels: Labels) -> tuple[list[int], float]:
        empty = [0] * (len(catalog.BUCKETS[metric.name]) + 1)
        return self._spreads[metric.name].setdefault(labels, (empty, 0.0))


def _steps(event: Message) -> list[Step]:
    told = event.headers.get(HEADER_STEPS)
    if told is None:
        # A program of an earlier version wrote it: what it writes last is the end.
        return [Step.ENDED] if HEADER_OUTCOME in event.headers else []
    known = {step.value: step for step in Step}
    return [known[word] for word in told.split(",") if word in known]


def _by_labels(table: Mapping[str, T]) -> dict[Labels, T]:
    return {tuple(text.split(",")): value for text, value in table.items()}


def _by_text(table: Mapping[Labels, T]) -> dict[str, T]:
    return {",".join(labels): value for labels, value in table.items()}

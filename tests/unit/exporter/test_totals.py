"""The totals: each step once, whatever is handed out again; labels within bounds."""

from __future__ import annotations

from qme.bus.port import Message
from qme.exporter import catalog
from qme.exporter.totals import Saved, Totals

UUID = "0199aaaa-0000-7000-8000-00000000000"


def event(
    revision: int, steps: str | None, *, place: str = "shell.lab", seq: int = 0, **headers: str
) -> Message:
    """An event of the audit trail."""
    told = {f"Qme-{name.title()}": text for name, text in headers.items()}
    return Message(
        f"qme.events.{place}.{UUID}{revision % 10}",
        b"",
        {"Qme-Revision": str(revision), **({} if steps is None else {"Qme-Steps": steps}), **told},
        seq=seq or revision,
    )


def counted(totals: Totals, metric: catalog.Metric) -> dict[tuple[str, ...], int]:
    """A counter's series that are not 0."""
    return {labels: count for labels, count in totals.counts(metric) if count}


def test_a_life_is_counted_step_by_step() -> None:
    """Submitted, waited, ran, ended."""
    totals = Totals()
    totals.count(event(1, "submitted"))
    totals.count(event(2, "started", waited="2.5"))
    totals.count(event(3, "none"))
    totals.count(event(4, "ended", outcome="timeout", ran="40"))
    assert counted(totals, catalog.SUBMITTED) == {("shell", "lab"): 1}
    assert counted(totals, catalog.FINISHED) == {("shell", "lab", "timeout"): 1}
    assert counted(totals, catalog.ATTEMPTS) == {("shell", "lab", "first"): 1}
    ((labels, buckets, total),) = totals.spreads(catalog.WAIT)
    assert (labels, buckets.index(1), total) == (("shell",), 3, 2.5)  # above 1 s, up to 3 s
    run = {labels[1]: (sum(buckets), total) for labels, buckets, total in totals.spreads(catalog.RUN)}
    assert run == {"ok": (0, 0.0), "not_ok": (1, 40.0)}


def test_what_comes_again_counts_once() -> None:
    """Stored twice, handed out twice, before and after it was saved."""
    totals = Totals()
    ends = [event(revision, "ended", outcome="success") for revision in (5, 7, 6)]
    assert [totals.count(one) for one in (*ends, ends[0])] == [True, True, True, False]
    again = Totals(Saved.model_validate_json(totals.save().model_dump_json()))
    assert [again.count(one) for one in (*ends, event(8, "ended", outcome="success"))] == [
        False, False, False, True,
    ]  # fmt: skip
    assert counted(again, catalog.FINISHED) == {("shell", "lab", "success"): 4}
    assert (again.position, again.repeated) == (8, 3)


def test_a_correction_is_not_finished_again() -> None:
    """A task that was lost and was not ended once, by what was told first."""
    totals = Totals()
    totals.count(event(1, "ended", outcome="lost"))
    totals.count(event(2, "ended", outcome="success", corrected="1"))
    assert counted(totals, catalog.FINISHED) == {("shell", "lab", "lost"): 1}
    assert counted(totals, catalog.CORRECTED) == {("shell", "lab", "success"): 1}


def test_a_worker_of_an_earlier_version_tells_ends_only() -> None:
    """Its writes name no steps: what has an outcome is an end. One that names none takes none."""
    totals = Totals()
    totals.count(event(1, None))
    totals.count(event(2, None, outcome="failed"))
    totals.count(event(3, "none", outcome="failed"))
    assert counted(totals, catalog.FINISHED) == {("shell", "lab", "failed"): 1}


def test_requests_and_nonsense_count_nothing() -> None:
    """The trail has what users asked for, too, and a worker may write what it likes into headers."""
    totals = Totals()
    asked = Message("qme.events.req.submit.ann", b"{}", {}, seq=9)
    odd = [event(2, "exploded"), event(3, "started", waited="-7"), event(4, "started", waited="nan")]
    assert [totals.count(one) for one in (asked, odd[0])] == [False, False]
    for one in odd[1:]:
        totals.count(one)
    totals.count(event(5, "ended", outcome="<script>"))
    assert totals.position == 9
    assert [sum(buckets) for _, buckets, _ in totals.spreads(catalog.WAIT)] == [0]
    assert counted(totals, catalog.FINISHED) == {("shell", "lab", "other"): 1}


def test_users_and_too_many_names_are_no_labels() -> None:
    """Personal pools are one series, and so are executors and pools beyond twenty, also after a restart."""
    totals = Totals()
    for number in range(30):
        totals.count(event(number + 1, "submitted", place=f"x{number}.u-ann{number}"))
        totals.count(event(number + 101, "submitted", place=f"shell.p{number}"))
    totals = Totals(totals.save())
    totals.count(event(300, "submitted", place="x29.u-bob"))
    places = counted(totals, catalog.SUBMITTED)
    assert {pool for executor, pool in places if executor.startswith("x")} == {"personal"}
    assert len({executor for executor, _ in places}) == len({pool for _, pool in places} - {"personal"}) == 21
    assert sum(places.values()) == 61


def test_series_begin_at_zero() -> None:
    """An executor that is there has its outcomes before the first task."""
    totals = Totals()
    assert (totals.know([("slurm", "hpc")]), totals.know([("slurm", "hpc")])) == (True, False)
    assert {labels[2] for labels, _ in totals.counts(catalog.FINISHED)} >= {"success", "lost", "node_fail"}

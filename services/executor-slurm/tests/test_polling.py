"""The poller's decisions: what is asked, what counts as an ending, and what never does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qme.contracts.tasks import Outcome, Status
from qme_executor_slurm import jobids, polling
from qme_executor_slurm.jobs import Job
from qme_executor_slurm.parsers import AccountRow, QueueRow
from qme_executor_slurm.polling import Cycle, Rules
from qme_executor_slurm.states import STATES, ExitCode

CALLED = datetime(2030, 1, 1, 12, tzinfo=UTC)
RULES = Rules()
ZERO = ExitCode(0, 0)
NEW = Job(7, CALLED, ("u", 1), answered=CALLED)


def at(seconds: float) -> datetime:
    """So long after sbatch was called."""
    return CALLED + timedelta(seconds=seconds)


def queued(name: str = "7", state: str = "PENDING", code: ExitCode | None = ZERO) -> QueueRow:
    """A row of squeue."""
    job = jobids.parse(name)
    assert job
    return QueueRow(job, state, "Resources", CALLED, None, None, "main", "n1", code, 0, "qme:u:1")


def accounted(name: str = "7", state: str = "COMPLETED", *, ended: bool = True) -> AccountRow:
    """A row of sacct."""
    job = jobids.parse(name)
    assert job
    end = at(9) if ended else None
    return AccountRow(job, state, "ann", CALLED, at(1), end, "main", "n1", ExitCode(0, 0), "qme:u:1", "")


def cycle(
    seconds: float,
    *queue: QueueRow,
    accounts: list[AccountRow] | None = None,
    away: bool = False,
    requeue: dict[str, bool] | None = None,
) -> Cycle:
    """What Slurm answered; `away`: accounting did not."""
    return Cycle(
        at(seconds),
        polling.by_job(queue),
        None if away else polling.by_job(accounts or []),
        requeue or {},
    )


def after(*cycles: Cycle, job: Job = NEW, rules: Rules = RULES) -> Job:
    """A job after these cycles."""
    for each in cycles:
        job = polling.follow(job, each, rules)
    return job


# -- what is asked ----------------------------------------------------------------------------------------------------
def test_accounting_is_asked_about_what_squeue_does_not_settle():
    """Jobs that it does not show, and ended ones whose exit code it does not give."""
    jobs = [replace(NEW, id=number) for number in (1, 2, 3, 4)]
    rows = polling.by_job([queued("1"), queued("2", "FAILED"), queued("3", "FAILED", None)])
    assert polling.to_ask(jobs, rows, RULES) == [3, 4]
    assert polling.to_ask(jobs, rows, Rules(accounting=False)) == []


def test_accounting_is_asked_about_missing_elements():
    """An array is asked about as a whole when one of its elements is gone, and not once that has ended."""
    job = after(cycle(1, queued("7_1"), queued("7_2")))
    assert polling.to_ask([job], polling.by_job([queued("7_1")]), RULES) == [7]
    job = after(cycle(2, queued("7_1"), accounts=[accounted("7_2")]), job=job)
    assert polling.to_ask([job], polling.by_job([queued("7_1")]), RULES) == []


def test_nothing_is_asked_about_ended_jobs():
    """A job is done with when all of its parts are."""
    assert polling.to_ask([after(cycle(1, queued(state="COMPLETED")))], {}, RULES) == []


# -- what stands ------------------------------------------------------------------------------------------------------
def test_a_job_that_no_list_shows_yet_is_queued():
    """Two minutes after its submission it may still be on its way into the lists."""
    job = after(cycle(1), cycle(60), cycle(119))
    assert (job.status, job.parts["7"].misses, job.ending) == (Status.QUEUED, 0, None)


def test_an_element_that_was_shown_is_not_young_any_more():
    """Slurm keeps nothing of an element that was cancelled before it started: gone, it was that, also early on."""
    job = after(cycle(5, queued("7_1"), queued("7_2")), *(cycle(n, queued("7_2")) for n in (10, 15, 20)))
    ended = job.parts["7_1"].ending
    assert ended is not None
    assert (ended.outcome, job.parts["7_2"].ending) == (Outcome.CANCELLED, None)


def test_a_live_row_of_squeue_beats_whatever_accounting_says():
    """Accounting is seconds behind, and shows an earlier run's ending while the job runs again."""
    job = after(cycle(1, queued(state="RUNNING"), accounts=[accounted()]))
    assert (job.status, job.ending) == (Status.RUNNING, None)


def test_accounting_that_shows_a_job_alive_says_nothing():
    """It says PENDING long after the job ran; only endings are taken from it."""
    job = after(*(cycle(300 * n, accounts=[accounted(state="PENDING", ended=False)]) for n in range(1, 200)))
    assert (job.status, job.ending) == (Status.QUEUED, None)


def test_an_ending_without_its_time_is_not_complete_yet():
    """After an outage of slurmdbd the state comes first, and the exit code later."""
    early, full = accounted(state="FAILED", ended=False), accounted(state="FAILED")
    assert after(cycle(5, accounts=[early])).ending is None
    assert after(cycle(5, accounts=[early]), cycle(15, accounts=[full])).ending is not None


def test_an_ending_without_an_exit_code_waits_for_accounting():
    """Where squeue can't tell it, sacct will; for a day, then the state alone has to do."""
    row = replace(queued(state="COMPLETED", code=None), ended=at(1))
    job = after(cycle(5, row), cycle(600, row, away=True))
    assert (job.ending, job.status) == (None, Status.RUNNING)
    assert after(cycle(700, row, accounts=[accounted()]), job=job).ending is not None
    assert after(cycle(RULES.settle + 1, row, away=True), job=job).ending is not None
    assert after(cycle(5, row), rules=Rules(accounting=False)).ending is not None


def test_a_controller_that_shows_an_ended_job_alive_takes_the_ending_back():
    """Somebody requeued it."""
    assert after(cycle(1, queued(state="FAILED")), cycle(2, queued())).ending is None


def test_the_latest_run_counts():
    """Of several rows of one job the one that was submitted last, the later line if at once."""
    first, second = accounted(state="NODE_FAIL"), replace(accounted(), submitted=at(5))
    for rows in ([first, second], [second, first]):
        ending = after(cycle(200, accounts=rows)).ending
        assert ending is not None
        assert ending.outcome is Outcome.SUCCESS
    assert after(cycle(200, accounts=[accounted(state="REQUEUED"), accounted()])).ending is not None


# -- whose job it is --------------------------------------------------------------------------------------------------
def test_ids_are_given_again():
    """A row that carries another marker, or none and was not submitted just then, is another job."""
    old = replace(accounted(), submitted=at(-61), comment="")
    others = replace(queued(state="COMPLETED"), comment="qme:other:1")
    assert after(cycle(10, others, accounts=[old])).ending is None
    slack = replace(accounted(), submitted=at(-59))
    assert after(cycle(10, accounts=[slack])).ending is not None


def test_a_row_without_a_marker_is_accepted():
    """A site's plug-in may rewrite comments; the id and the time still agree."""
    assert after(cycle(10, replace(queued(state="COMPLETED"), comment=""))).ending is not None


# -- what may be taken back -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("state", ["NODE_FAIL", "PREEMPTED", "BOOT_FAIL"])
def test_a_provisional_ending_waits_for_slurm_to_decide(state: str):
    """Slurm is asked whether it will run the job again, and given five minutes to."""
    row = queued(state=state)
    job = after(cycle(10, row))
    assert (job.ending, polling.provisional([job])) == (None, ["7"])
    assert after(cycle(20, row, requeue={"7": True}), job=job).ending is None
    assert after(cycle(309, row), job=job).ending is None
    assert after(cycle(310, row), job=job).ending is not None
    final = after(cycle(11, row, requeue={"7": False}), job=job)
    assert final.ending is not None
    assert polling.provisional([final]) == []


def test_a_job_that_runs_again_starts_its_patience_anew():
    """A second preemption is as provisional as the first."""
    job = after(
        cycle(10, queued(state="PREEMPTED")), cycle(200, queued()), cycle(400, queued(state="PREEMPTED"))
    )
    assert (job.ending, job.parts["7"].provisional) == (None, at(400))


# -- what is lost -----------------------------------------------------------------------------------------------------
def test_a_job_is_lost_after_three_answers_and_ten_minutes():
    """Both lists answered and none knew it, again and again."""
    job = after(cycle(10, queued()), cycle(200), cycle(300))
    assert after(cycle(609), job=job).ending is None
    lost = after(cycle(610), job=job)
    assert lost.ending is not None
    assert (lost.status, lost.ending.outcome) == (Status.LOST, Outcome.LOST)
    assert after(cycle(700), job=after(cycle(10, queued()), cycle(200))).ending is None


def test_being_seen_once_starts_the_count_anew():
    """A list that was incomplete once is no evidence."""
    job = after(cycle(10, queued()), cycle(200), cycle(300), cycle(400, queued()), cycle(900), cycle(1200))
    assert (job.ending, job.parts["7"].misses) == (None, 2)


def test_no_answer_of_accounting_is_no_evidence():
    """Its outage may last most of a day; after it the ending is found."""
    job = after(cycle(10, queued()), *(cycle(n * 600, away=True) for n in range(1, 140)))
    assert (job.ending, job.parts["7"].misses) == (None, 0)
    assert after(cycle(RULES.settle, accounts=[accounted()]), job=job).ending is not None
    lost = after(cycle(RULES.settle + 10, away=True), job=job).ending
    assert lost is not None
    assert lost.reason == "lost: accounting did not answer"


def test_without_accounting_the_result_is_unknown():
    """A job that the controller forgot has ended, and nobody knows how: never a success."""
    rules = Rules(accounting=False)
    job = after(cycle(10, queued(state="RUNNING")), cycle(200, away=True), cycle(250, away=True), rules=rules)
    assert after(cycle(309, away=True), job=job, rules=rules).ending is None
    lost = after(cycle(310, away=True), job=job, rules=rules).ending
    assert lost is not None
    assert lost.reason == "lost: it ended with an unknown result, as this cluster keeps no accounts"


def test_a_lost_job_that_shows_up_is_found():
    """While the poller still asks."""
    lost = after(cycle(10, queued()), cycle(200), cycle(300), cycle(610))
    assert after(cycle(700, queued(state="RUNNING")), job=lost).status is Status.RUNNING


def test_a_waiting_element_that_vanishes_was_cancelled():
    """Slurm keeps no record of it. One that was running, or unseen for long, is not concluded about."""
    seen = cycle(10, queued("7_1"), queued("7_2", "RUNNING"))
    rest = queued("7_3", "RUNNING")
    counts = after(seen, cycle(200, rest), cycle(210, rest), cycle(220, rest)).counts()
    assert counts == {"total": 3, "running": 2, "cancelled": 1}
    late = after(seen, cycle(400, rest), cycle(410, rest), cycle(420, rest)).counts()
    assert late == {"total": 3, "queued": 1, "running": 2}


# -- the whole job ----------------------------------------------------------------------------------------------------
def test_an_array_stands_as_its_elements_do():
    """Queued until one has started, running until all have ended, then the worst of them; unknown parts have no row."""
    assert after(cycle(1)).counts() == {"total": 1, "queued": 1}
    job = after(cycle(1), cycle(2, queued("7_1"), queued("7_2")))
    assert (job.status, job.counts()) == (Status.QUEUED, {"total": 2, "queued": 2})
    job = after(cycle(3, queued("7_1", "COMPLETED"), queued("7_2")), job=job)
    assert (job.status, job.counts()) == (Status.RUNNING, {"total": 2, "queued": 1, "success": 1})
    job = after(cycle(4, queued("7_2", "FAILED", ExitCode(3, 0)), accounts=[accounted("7_1")]), job=job)
    assert job.ending is not None
    assert (job.status, job.ending.returncode) == (Status.COMPLETE, 3)
    assert job.counts() == {"total": 2, "success": 1, "failed": 1}


def test_a_group_of_waiting_elements_counts_one_by_one():
    """Accounting names them in one row."""
    assert after(cycle(1, queued("7_[3-6%2]"))).counts() == {"total": 4, "queued": 4}


def test_an_unknown_state_changes_nothing_and_is_counted():
    """A newer Slurm may have states that are no endings."""
    job = after(cycle(1, queued(state="RUNNING")), cycle(2, queued(state="TELEPORTING")))
    assert (job.status, job.parts["7"].state, job.unknown) == (
        Status.RUNNING,
        "RUNNING",
        frozenset({"TELEPORTING"}),
    )


@pytest.mark.parametrize("state", ["EXPEDITING", "UPDATE_DB"])
def test_a_flag_that_stands_as_a_state_changes_nothing(state: str):
    """It says nothing about where the job stands."""
    job = after(cycle(1, queued()), cycle(2, queued(state=state)))
    assert (job.status, job.parts["7"].state, job.unknown) == (Status.QUEUED, "PENDING", frozenset())


states_of_rows = st.sampled_from([*STATES, "TELEPORTING", None])


@given(st.lists(st.tuples(states_of_rows, states_of_rows, st.booleans(), st.integers(1, 100)), max_size=12))
def test_only_slurms_own_word_ends_a_job(history: list[tuple[str | None, str | None, bool, int]]):
    """Whatever the order of answers, silence and outages within ten minutes, an ending is one that a list told last."""
    job, now = NEW, 0
    told: set[str | None] = set()
    for in_queue, in_accounts, away, pause in history:
        now = min(now + pause, 599)
        rows = [queued(state=in_queue)] if in_queue else []
        accounts = [accounted(state=in_accounts)] if in_accounts else []
        job = after(cycle(now, *rows, accounts=accounts, away=away), job=job)
        told |= {in_queue} if in_queue else set() if away else {in_accounts}
    if job.ending:
        assert job.ending.state in told
        assert job.ending.outcome is not Outcome.LOST

"""Rows from recorded output of a real Slurm, and from text as strange as it can be."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qme_executor_slurm import parsers, queries, states
from qme_executor_slurm.jobids import JobId
from qme_executor_slurm.parsers import ACCOUNT_COLUMNS, DIVIDER, QUEUE_COLUMNS, AccountRow, QueueRow
from qme_executor_slurm.states import ExitCode

from . import recordings

SNAPSHOTS = ("living", "ended")


def row(*values: str) -> str:
    """One row as the commands print it."""
    return "".join(f"{value}{DIVIDER}" for value in values) + "\n"


QUEUED = row(
    "7_3", "PENDING", "JobHeldUser", "2026-11-23T02:06:21", "N/A", "N/A", "main", "", "0", "0", "mine qme:u:1"
)
ENDED = row(
    "7", "FAILED", "ann", "main", "2026-11-23T02:06:21", "2026-11-23T02:06:22", "2026-11-23T02:07:00", "n[1-2]", "0:9",
    "(null)", "sbatch job.sh",
)  # fmt: skip
SUBMITTED = datetime(2026, 11, 23, 2, 6, 21, tzinfo=UTC)


def test_a_row_of_squeue():
    """Every field; what Slurm says of nothing becomes None."""
    assert parsers.queue(QUEUED) == [
        QueueRow(
            id=JobId(7, (3,)),
            state="PENDING",
            reason="JobHeldUser",
            submitted=SUBMITTED,
            started=None,
            ended=None,
            partition="main",
            nodes=None,
            exit=ExitCode(0, 0),
            restarts=0,
            comment="mine qme:u:1",
        )
    ]


def test_a_row_of_sacct():
    """Every field, times in UTC."""
    assert parsers.accounting(ENDED) == [
        AccountRow(
            id=JobId(7),
            state="FAILED",
            user="ann",
            submitted=SUBMITTED,
            started=datetime(2026, 11, 23, 2, 6, 22, tzinfo=UTC),
            ended=datetime(2026, 11, 23, 2, 7, tzinfo=UTC),
            partition="main",
            nodes="n[1-2]",
            exit=ExitCode(0, 9),
            comment="",
            submit_line="sbatch job.sh",
        )
    ]


def test_an_older_sacct_is_asked_for_less():
    """Columns that a version lacks are left out of the question, and of the rows."""
    columns = ("JobID", "State", "Submit", "ExitCode")
    (found,) = parsers.accounting(row("7", "COMPLETED", "2026-11-23T02:06:21", "0:0"), columns)
    assert (found.id, found.state, found.submitted, found.submit_line) == (
        JobId(7),
        "COMPLETED",
        SUBMITTED,
        "",
    )
    assert queries.sacct([7], SUBMITTED, columns=columns, uid=1000)[-5] == "JobID,State,Submit,ExitCode"


@pytest.mark.parametrize("snapshot", SNAPSHOTS)
def test_every_recorded_row_is_read(snapshot: str):
    """None is left out, every state is known, and every row of squeue carries its marker."""
    queue, accounts = recordings.queue(snapshot), recordings.accounts(snapshot)
    assert len(queue) == recordings.text(f"{snapshot}.squeue").count(DIVIDER) / len(QUEUE_COLUMNS)
    assert len(accounts) == recordings.text(f"{snapshot}.sacct").count(DIVIDER) / len(ACCOUNT_COLUMNS)
    details = recordings.details(snapshot)
    assert len(details) == recordings.text(f"{snapshot}.scontrol").count("\nJobId=") + 1
    met = [r.state for r in queue] + [r.state for r in accounts] + [r.state for r in details]
    assert [state for state in met if states.meaning(state) is None] == []
    assert [found.id for found in queue if not recordings.name_of(found)] == []


def test_a_comment_of_two_lines_stays_one():
    """Line breaks and bars in a comment divide nothing."""
    (found,) = [r for r in recordings.queue("living") if recordings.name_of(r) == "over-two-lines"]
    assert (found.state, found.comment) == ("PENDING", "a|b\nc qme:over-two-lines:1")


def test_a_command_line_of_two_lines_stays_one():
    """So do they in the command that accounting keeps."""
    (found,) = [r for r in recordings.accounts("ended") if recordings.name_of(r) == "two-lines"]
    assert found.submit_line.endswith("--wrap true\nexit 4 # qme:not-this:1 | \x01")


@pytest.mark.parametrize(("name", "parts"), [("array", 4), ("array-ok", 3), ("het", 2), ("ok", 1)])
def test_parts_are_told_apart_by_both(name: str, parts: int):
    """Elements and components have names of their own in squeue and in sacct."""
    for rows in (recordings.queue("ended"), recordings.accounts("ended")):
        names = {part for found in rows if recordings.name_of(found) == name for part in found.id.parts()}
        assert len(names) == parts


def test_scontrol_gives_the_files():
    """Paths come expanded; a job's name can't pose as another field."""
    shown = {found.id: found for found in recordings.details("ended")}
    found = shown[JobId(recordings.job_of("over-two-lines"))]
    assert found.state == "CANCELLED"
    assert found.fields["JobName"] == "JobState=FAILED x"
    assert found.stdout == f"/home/ann/project/slurm-{found.id.job}.out"
    assert (found.stderr, found.directory) == (found.stdout, "/home/ann/project")
    assert found.requeue
    assert shown[JobId(recordings.job_of("exit-3"))].exit == ExitCode(3, 0)


def test_scontrol_shows_the_parts_of_a_job():
    """Elements, a group of waiting ones, and components."""
    ended = {part for found in recordings.details("ended") for part in found.id.parts()}
    array, het = recordings.job_of("array"), recordings.job_of("het")
    assert {f"{array}_{element}" for element in range(4)} | {f"{het}+0", f"{het}+1"} < ended
    (group,) = [found for found in recordings.details("living") if found.id.elements]
    assert group.id.elements == tuple(range(0, 201, 2))


def test_a_comment_cannot_name_other_files():
    """Of lines that look like fields the real ones win: scontrol prints files after the comment, the rest before."""
    text = "JobId=7 JobName=x\n   JobState=RUNNING Requeue=0\n   WorkDir=/a\n   Comment=c\n   StdOut=/evil\n"
    text += "   Requeue=1 WorkDir=/evil\n   StdErr=/a/err\n   StdOut=/a/out\n"
    (found,) = parsers.details(text)
    assert (found.stdout, found.stderr, found.directory, found.requeue) == ("/a/out", "/a/err", "/a", False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "slurm_load_jobs error: Socket timed out\n",
        f"7{DIVIDER}PENDING{DIVIDER}",
        QUEUED[:-20],
        "JobId\n",
    ],
)
def test_what_is_no_row_is_left_out(text: str):
    """Complaints, halves of rows and nothing at all name no job."""
    assert parsers.queue(text) == []
    assert parsers.accounting(text) == []
    assert parsers.details(text) == []


def test_a_banner_does_not_hide_the_first_row():
    """Sites let every command greet people."""
    greeted = f"Welcome to the cluster\n\n{QUEUED}Good bye\n"
    assert parsers.queue(greeted) == parsers.queue(QUEUED)


def test_steps_are_left_out():
    """What a job ran inside is not the job."""
    assert parsers.accounting(ENDED.replace("7", "7.batch", 1)) == []


def test_a_job_that_is_known_no_longer_is_told_from_a_controller_that_does_not_answer():
    """Only the first is an answer."""
    assert parsers.forgotten("slurm_load_jobs error: Invalid job id specified\n")
    assert not parsers.forgotten(
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
    )


free = st.text(st.characters(exclude_characters=DIVIDER, exclude_categories=["Cs"]))


@given(st.lists(st.tuples(st.integers(0, 10**7), free)))
def test_no_comment_disturbs_the_rows_around_it(jobs: list[tuple[int, str]]):
    """Whatever people write, every job is read, with its own comment."""
    text = "".join(
        row(str(job), "RUNNING", "None", "", "", "", "main", "n1", "0", "0", comment) for job, comment in jobs
    )
    found = parsers.queue(text)
    assert [r.id.job for r in found] == [job for job, _ in jobs]
    for (_, comment), read in zip(jobs, found, strict=True):
        assert read.comment in {comment.strip(), ""}


@given(free)
def test_no_output_is_too_strange(text: str):
    """Reading never fails, and finds no job where there is none."""
    assert parsers.queue(text) == []
    assert parsers.accounting(text) == []
    parsers.details(text)

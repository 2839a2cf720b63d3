"""From the text of squeue, sacct and scontrol to rows. Pure. `queries` asks for the columns that are named here.

Comments and command lines are free text and may hold anything, line breaks included; so every column ends with a
character that people don't type, and a row may go over several lines. Lines that fit no row (a site's banner, half a
line of a killed command) are left out: a missing row never means an ending.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from qme_executor_slurm import jobids, states
from qme_executor_slurm.jobids import JobId
from qme_executor_slurm.states import ExitCode

#: unit separator
DIVIDER = "\x1f"

QUEUE_COLUMNS = (
    "JobArrayID", "State", "Reason", "SubmitTime", "StartTime", "EndTime", "Partition", "NodeList", "exit_code",
    "RestartCnt", "Comment",
)  # fmt: skip
PATTERN_COLUMNS = ("StdOut", "StdErr")
ACCOUNT_COLUMNS = (
    "JobID", "State", "User", "Partition", "Submit", "Start", "End", "NodeList", "ExitCode", "Comment", "SubmitLine",
)  # fmt: skip

_NOTHING = frozenset({"", "(null)", "N/A", "Unknown", "None", "None assigned", "n/a"})


@dataclass(frozen=True, slots=True)
class QueueRow:
    """What the controller says of a job now; it forgets ended ones after some minutes (MinJobAge)."""

    id: JobId
    state: str
    reason: str | None
    submitted: datetime | None
    #: expected, where it has not started
    started: datetime | None
    ended: datetime | None
    partition: str | None
    nodes: str | None
    #: counts in an ended state only
    exit: ExitCode | None
    restarts: int
    comment: str


@dataclass(frozen=True, slots=True)
class AccountRow:
    """What accounting says of a job: seconds behind the controller, but for good."""

    id: JobId
    state: str
    user: str | None
    submitted: datetime | None
    started: datetime | None
    ended: datetime | None
    partition: str | None
    nodes: str | None
    exit: ExitCode | None
    comment: str
    submit_line: str


@dataclass(frozen=True, slots=True)
class Details:
    """One record of ``scontrol show job``: the only source of expanded paths, and of Requeue."""

    id: JobId
    state: str
    #: every field by Slurm's own name, for people
    fields: dict[str, str]

    @property
    def requeue(self) -> bool:
        """Slurm may start the job again after a node failure or preemption."""
        return self.fields.get("Requeue") == "1"

    @property
    def stdout(self) -> str | None:
        """The file of its standard output, expanded."""
        return _text(self.fields.get("StdOut", ""))

    @property
    def stderr(self) -> str | None:
        """The file of its standard error, expanded; the same as `stdout` where both go there."""
        return _text(self.fields.get("StdErr", ""))

    @property
    def directory(self) -> str | None:
        """The job's working directory."""
        return _text(self.fields.get("WorkDir", ""))

    @property
    def uid(self) -> int | None:
        """Whose job it is: ``UserId=ann(1000)``."""
        number = self.fields.get("UserId", "").rpartition("(")[2].rstrip(")")
        return int(number) if number.isdecimal() else None

    @property
    def comment(self) -> str:
        """Its comment, in which the marker stands."""
        return _text(self.fields.get("Comment", "")) or ""

    @property
    def submitted(self) -> datetime | None:
        """When Slurm took it, or last requeued it."""
        return _time(self.fields.get("SubmitTime", ""))

    @property
    def exit(self) -> ExitCode | None:
        """Its exit code; counts in an ended state only."""
        return states.exit_code(self.fields.get("ExitCode", ""))


def queue(text: str) -> list[QueueRow]:
    """Read squeue's rows."""
    found = []
    for row in _rows(text, QUEUE_COLUMNS):
        name, state, reason, submitted, started, ended, partition, nodes, exited, restarts, comment = row
        if job := jobids.parse(name):
            found.append(
                QueueRow(
                    id=job,
                    state=states.base(state),
                    reason=_text(reason),
                    submitted=_time(submitted),
                    started=_time(started),
                    ended=_time(ended),
                    partition=_text(partition),
                    nodes=_text(nodes),
                    exit=states.exit_code(exited),
                    restarts=int(restarts) if restarts.isdecimal() else 0,
                    comment=_text(comment) or "",
                )
            )
    return found


def accounting(text: str, columns: Sequence[str] = ACCOUNT_COLUMNS) -> list[AccountRow]:
    """Read sacct's rows, steps left out; `columns` as they were asked for, since an old sacct knows fewer."""
    found = []
    for row in _rows(text, columns):
        named = dict(zip(columns, row, strict=True))
        job = jobids.parse(named["JobID"])
        if job and job.step is None:
            found.append(
                AccountRow(
                    id=job,
                    state=named["State"].strip(),
                    user=_text(named.get("User", "")),
                    submitted=_time(named["Submit"]),
                    started=_time(named.get("Start", "")),
                    ended=_time(named.get("End", "")),
                    partition=_text(named.get("Partition", "")),
                    nodes=_text(named.get("NodeList", "")),
                    exit=states.exit_code(named["ExitCode"]),
                    comment=_text(named.get("Comment", "")) or "",
                    submit_line=named.get("SubmitLine", ""),
                )
            )
    return found


def patterns(text: str) -> tuple[str, str] | None:
    """Read the patterns of a job's stdout and stderr, which are the same where both go there; None: there is no row."""
    return next(((stdout.strip(), stderr.strip()) for stdout, stderr in _rows(text, PATTERN_COLUMNS)), None)


def host(text: str) -> str | None:
    """Read the host name of a node from ``scontrol show node``."""
    found = re.search(r"\bNodeHostName=(\S+)", text)
    return found[1] if found else None


def config(text: str) -> dict[str, str]:
    """Read the cluster's settings from ``scontrol show config``."""
    lines = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, equals, value in lines if equals}


#: alone on their lines, and their values may hold anything
_WHOLE_LINE = frozenset(
    {"Command", "WorkDir", "Comment", "AdminComment", "SystemComment", "StdErr", "StdIn", "StdOut"}
)


def details(text: str) -> list[Details]:
    """Read the records of ``scontrol show job``; not its one-line form, where a comment may look like a field."""
    found: list[dict[str, str]] = []
    for line in text.splitlines():
        if line.startswith("JobId="):
            found.append({})
        if found and "=" in line:
            for name, value in _fields(line.strip()):
                # A comment of several lines may look like fields; only those of output files come after it.
                if name.startswith("Std"):
                    found[-1][name] = value
                else:
                    found[-1].setdefault(name, value)
    return [record for fields in found if (record := _record(fields))]


def forgotten(stderr: str) -> bool:
    """Tell from scontrol's complaint that the controller answered, and has no such job (any more)."""
    return "Invalid job id specified" in stderr


def _record(fields: dict[str, str]) -> Details | None:
    name = fields.get("JobId", "")
    if "ArrayJobId" in fields:
        task = fields.get("ArrayTaskId", "")
        name = f"{fields['ArrayJobId']}_{task if task.isdecimal() else f'[{task}]'}"
    elif "HetJobId" in fields:
        name = f"{fields['HetJobId']}+{fields.get('HetJobOffset', '')}"
    job = jobids.parse(name)
    return Details(job, fields.get("JobState", ""), fields) if job else None


def _fields(line: str) -> Iterator[tuple[str, str]]:
    name, _, value = line.partition("=")
    if name in _WHOLE_LINE:
        yield name, value.strip()
        return
    for at, word in enumerate(words := line.split(" ")):
        name, equals, value = word.partition("=")
        if equals and name == "JobName":
            yield name, " ".join([value, *words[at + 1 :]])
            return
        if equals:
            yield name, value


def _rows(text: str, columns: Sequence[str]) -> Iterator[list[str]]:
    """Divide text into rows; every column ends with a divider, so the last one ends the row."""
    pending = ""
    for line in text.split("\n"):
        pending = f"{pending}\n{line}" if pending else line
        found = pending.count(DIVIDER)
        if found < len(columns):
            continue
        if found == len(columns) and pending.endswith(DIVIDER):
            row = pending.split(DIVIDER)[:-1]
            row[0] = row[0].rpartition("\n")[2]  # what stood before it was no row
            yield row
        pending = ""


def _text(value: str) -> str | None:
    value = value.strip()
    return None if value in _NOTHING else value


def _time(value: str) -> datetime | None:
    """Read a time as the programs print it when told so (`sbatch.query_environment`): ISO without a zone, in UTC."""
    try:
        return datetime.fromisoformat(value.strip()).replace(tzinfo=UTC)
    except ValueError:
        return None

"""What a chaos run showed: what qme says of every task against what its command noted on disk. Pure: reads no file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tests.chaos.plan import FOR_EVER, Job, Kind, number_in

from qme.contracts.tasks import Outcome, TaskRecord
from qme.lifecycle import violations

#: an attempt of a task: id and number
Which = tuple[str, int]


@dataclass(slots=True)
class Notes:
    """What the commands wrote about themselves."""

    starts: Counter[Which] = field(default_factory=Counter)
    ends: dict[Which, int] = field(default_factory=dict)  #: exit codes

    def read(self, starts: Iterable[str], ends: Iterable[str]) -> None:
        """Take up lines as `command.sh` writes them."""
        for line in starts:
            uid, attempt, _ = line.split()
            self.starts[uid, int(attempt)] += 1
        for line in ends:
            uid, attempt, _, code = line.split()
            self.ends[uid, int(attempt)] = int(code)


@dataclass(frozen=True, slots=True)
class Seen:
    """A task as qme shows it."""

    record: TaskRecord
    stdout: str  #: of its last attempt
    stderr: str


@dataclass(slots=True)
class Verdict:
    """The counts, and a line on each task that is not as it should be."""

    accepted: int = 0  #: ids that were printed
    unprinted: int = (
        0  #: tasks that exist although their id was never printed: the client or the answer was gone
    )
    attempts: int = 0  #: commands started
    outcomes: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    submitted_twice: list[str] = field(default_factory=list)
    started_twice: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def broken(self) -> dict[str, list[str]]:
        """The promises by name, with the tasks that broke them."""
        return {
            "lost": self.lost,
            "submitted twice": self.submitted_twice,
            "started twice": self.started_twice,
            "stuck": self.stuck,
            "wrong state": self.wrong,
        }


def judge(
    jobs: Mapping[int, Job],
    printed: Iterable[str],
    seen: Mapping[str, Seen],
    notes: Notes,
    rerun: Iterable[str] = (),
) -> Verdict:
    """Judge every task. `rerun`: ids of which somebody was told that they run once more."""
    verdict, known, again = Verdict(), set(printed), set(rerun)
    verdict.accepted = len(known)
    verdict.unprinted = len(seen.keys() - known)
    verdict.attempts = sum(notes.starts.values())
    verdict.lost += [f"{uid} was printed and has no record" for uid in sorted(known - seen.keys())]
    started = {uid for uid, _ in notes.starts}
    verdict.lost += [f"{uid} was started and has no record" for uid in sorted(started - seen.keys())]
    verdict.started_twice += [
        f"{uid} attempt {attempt} was started {times} times"
        for (uid, attempt), times in notes.starts.items()
        if times > 1
    ]
    by_number: dict[int, list[str]] = {}
    for uid, one in seen.items():
        number = number_in(one.record.command) or 0
        by_number.setdefault(number, []).append(uid)
        _judge_one(verdict, jobs[number], uid, one, notes, uid in again)
    verdict.submitted_twice += [
        f"job {number} became {', '.join(sorted(uids))}"
        for number, uids in by_number.items()
        if len(uids) > 1
    ]
    return verdict


def _judge_one(verdict: Verdict, job: Job, uid: str, one: Seen, notes: Notes, rerun: bool) -> None:
    record = one.record
    if record.outcome is None:
        verdict.stuck.append(f"{uid} ({job.kind}) is {record.status} at attempt {record.attempt}")
        return
    verdict.outcomes[record.outcome] += 1
    if record.outcome is Outcome.LOST:
        verdict.lost.append(f"{uid} ({job.kind}) is lost: {record.reason}")
        return
    problems = [*violations(record), *_history(job, record, notes), *_end(job, one, notes)]
    if record.attempt > 1 and job.kind not in (Kind.RETRIED, Kind.RERUN):
        problems.append(f"nobody wanted attempt {record.attempt}")
    if rerun and record.attempt < 2:
        problems.append("its rerun was accepted and did not happen")
    verdict.wrong += [f"{uid} ({job.kind}, {record.outcome}): {problem}" for problem in problems]


def _history(job: Job, record: TaskRecord, notes: Notes) -> Iterable[str]:
    """Hold the earlier attempts to what they did."""
    for line in record.attempts:
        which = (record.uid, line.attempt)
        if notes.starts[which] < 1:
            yield f"attempt {line.attempt} was never started"
        if (notes.ends.get(which), line.returncode) != (job.code(line.attempt),) * 2:
            yield f"attempt {line.attempt} ended with {notes.ends.get(which)}, the record says {line.returncode}"
    if [line.attempt for line in record.attempts] != list(range(1, record.attempt)):
        yield f"attempt {record.attempt} has the history {[line.attempt for line in record.attempts]}"


def _end(job: Job, one: Seen, notes: Notes) -> Iterable[str]:
    """Hold the last attempt to what it did."""
    record = one.record
    allowed = {Kind.LIMITED: {Outcome.TIMEOUT}, Kind.CANCELLED: {Outcome.CANCELLED}}.get(job.kind)
    natural = Outcome.SUCCESS if job.code(record.attempt) == 0 else Outcome.FAILED
    allowed = allowed or ({natural, Outcome.CANCELLED} if job.kind is Kind.RACED else {natural})
    if record.outcome not in allowed:
        yield f"it should be {' or '.join(sorted(allowed))}; {record.reason}"
    check: Callable[[Job, Seen, Notes], Iterable[str]] = (
        _ended_by_itself if record.outcome is natural else _was_ended
    )
    yield from check(job, one, notes)


def _ended_by_itself(job: Job, one: Seen, notes: Notes) -> Iterable[str]:
    record = one.record
    attempt, which = record.attempt, (record.uid, record.attempt)
    if notes.starts[which] < 1:
        yield f"attempt {attempt} was never started"
    codes = (notes.ends.get(which), record.data.get("returncode"))
    if codes != (job.code(attempt),) * 2:
        yield f"it ended with {codes[0]}, the record says {codes[1]}"
    if one.stdout != job.stdout(attempt):
        yield f"its output has {len(one.stdout)} bytes, it wrote {len(job.stdout(attempt))}"
    if one.stderr != job.stderr(attempt):
        yield f"its errors are {one.stderr[:80]!r}"
    if record.data.get("output_bytes") != len(job.stdout(attempt)):
        yield f"the record counts {record.data.get('output_bytes')} bytes of output"
    if job.kind is Kind.RETRIED and attempt != len(job.codes):
        yield f"it ended at attempt {attempt} of {len(job.codes)}"


def _was_ended(job: Job, one: Seen, notes: Notes) -> Iterable[str]:
    attempt = one.record.attempt
    if not job.stdout(attempt).startswith(one.stdout):
        yield f"its output begins otherwise: {one.stdout[:80]!r}"
    if job.seconds == FOR_EVER and (one.record.uid, attempt) in notes.ends:
        yield "it ended by itself"

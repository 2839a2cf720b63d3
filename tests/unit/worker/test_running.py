"""A task from the queue to its final record, by a real worker and a real keeper."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.worker.lab import POOL, USER, FaultyBus, Lab, encoded, once, until

from qme.bus.kv import Bucket
from qme.contracts import subjects
from qme.contracts.executors import Definition, Heartbeat
from qme.contracts.tasks import Outcome, RetryPolicy, SentFile, Status, TaskRecord
from qme.errors import Conflict, InvalidRequest, NotPermitted, QmeError
from qme.executor.spool import SpoolBusy
from qme.worker import work
from qme.worker.spooled import is_reported
from qme_executor_shell import ShellExecutor, ShellSettings


async def test_happy_path(lab: Lab, tmp_path: Path) -> None:
    """A command runs once, its output is on the bus, and the record tells all that the original's did."""
    async with lab.worker():
        key = await lab.submit("echo", "hello", "moto", cwd=str(tmp_path), env={"NAME": "s3cret"})
        record = await lab.ended(key)
        assert await until(lambda: _is_empty(lab))
    assert (record.status, record.outcome, record.attempt) == (Status.COMPLETE, Outcome.SUCCESS, 1)
    data = record.data
    assert data["output"] == ["hello moto\n"]
    assert data["error"] == []
    assert data["cmd"] == ["echo", "hello", "moto"]
    assert data["command"] == "echo hello moto"
    assert data["pwd"] == str(tmp_path)
    assert (data["returncode"], data["status"], data["truncated"]) == (0, "complete", False)
    assert (data["output_bytes"], data["output_logged"], data["error_bytes"]) == (11, 11, 0)
    assert data["pid"] > 1
    assert {"user", "timestamp", "maxrss_kb", "utime", "stime"} <= data.keys()
    assert record.started is not None
    assert record.finished is not None
    assert record.created <= record.started <= record.finished
    assert record.claim is None
    assert await lab.output(key) == b"hello moto\n"
    assert "s3cret" not in record.model_dump_json()


async def _is_empty(lab: Lab) -> bool:
    return await lab.queued() == 0


@pytest.mark.parametrize(
    ("script", "code", "outcome"),
    [
        ("exit 0", 0, Outcome.SUCCESS),
        ("exit 3", 3, Outcome.FAILED),
        ("exit 255", 255, Outcome.FAILED),
        ("kill -9 $$", 137, Outcome.FAILED),
        ("kill -TERM $$", 143, Outcome.FAILED),
    ],
)
async def test_exit_codes(lab: Lab, script: str, code: int, outcome: Outcome) -> None:
    """The code is the command's own, 128 + n for a signal."""
    async with lab.worker():
        record = await lab.ended(await lab.submit("sh", "-c", script))
    assert (record.data["returncode"], record.outcome) == (code, outcome)


@pytest.mark.parametrize(("word", "code"), [("no-such-program", 127), ("/etc/passwd", 126), ("/", 126)])
async def test_programs_that_cannot_run(lab: Lab, word: str, code: int) -> None:
    """What can't be started says so as a shell does, in the reason and on stderr."""
    async with lab.worker():
        record = await lab.ended(await lab.submit(word))
    assert (record.data["returncode"], record.outcome) == (code, Outcome.FAILED)
    assert record.reason is not None
    assert word in record.reason
    assert word in record.data["error"][0]


async def test_words_arrive_as_they_are(lab: Lab) -> None:
    """Blanks, quotes, unicode and empty words reach the program; a line for the shell is run by it."""
    words = ["a b", "", '"', "'", "$HOME", "\u00fcml\u00e4ut", "\n", "*"]
    async with lab.worker():
        exact = await lab.submit("python3", "-c", "import sys, json; print(json.dumps(sys.argv[1:]))", *words)
        line = await lab.submit("echo a b | wc -w", shell=True)  # noqa: S604 -- a field of the spec
        assert (await lab.ended(exact)).data["returncode"] == 0
        await lab.ended(line)
    assert json.loads(await lab.output(exact)) == words
    assert (await lab.output(line)).strip() == b"2"


async def test_the_environment(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's own secrets stay with it; the task's variables and its id are there; stdin is empty."""
    monkeypatch.setenv("QME_NATS_CREDS", "/secret")
    monkeypatch.setenv("COLOUR", "red")
    async with lab.worker():
        key = await lab.submit("sh", "-c", "env; cat", env={"MINE": "1"}, umask=0o077)
        await lab.ended(key)
    env = dict(line.split("=", 1) for line in (await lab.output(key)).decode().splitlines() if "=" in line)
    assert "QME_NATS_CREDS" not in env
    assert (env["COLOUR"], env["MINE"], env["QME_TASK_ID"]) == ("red", "1", f"{key.uuid}.1")


async def test_sent_files_and_stdin(lab: Lab) -> None:
    """Files and stdin that were sent are there, in a folder of the task's own."""
    script = b"#!/bin/sh\ncat; pwd\n"
    files = (
        SentFile(
            name="run.sh", content=encoded(script), mode=0o755, sha256=hashlib.sha256(script).hexdigest()
        ),
    )
    stdin = SentFile(name="stdin", content=encoded(b"in\n"), sha256=hashlib.sha256(b"in\n").hexdigest())
    async with lab.worker():
        record = await lab.ended(
            await lab.submit("./run.sh", files=files, stdin=stdin, cwd="/no/such/folder")
        )
    assert record.data["output"] == ["in\n", record.data["pwd"] + "\n"]
    assert record.data["pwd"].startswith(str(lab.settings.workdir))


async def test_a_given_folder_that_is_missing(lab: Lab) -> None:
    """Nothing is started, and the reason is a sentence."""
    async with lab.worker():
        key = await lab.submit("pwd", cwd="/no/such/folder", cwd_given=True)
        record = await lab.ended(key)
    assert (record.outcome, record.data["returncode"]) == (Outcome.SUBMIT_FAILED, 125)
    assert record.reason is not None
    assert record.reason.startswith("the working directory /no/such/folder does not exist on ")
    assert not (lab.spool.tasks / f"{key.uuid}.1" / "start").exists()


async def test_timeout_ends_the_whole_tree(lab: Lab) -> None:
    """After its time the command and what it started in other sessions are gone, also what ignores TERM."""
    script = "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 60' & echo $!; sleep 60; sleep 60"
    async with lab.worker():
        key = await lab.submit("sh", "-c", script, timeout=0.3)
        record = await lab.ended(key)
    assert (record.outcome, record.status) == (Outcome.TIMEOUT, Status.COMPLETE)
    assert record.data["returncode"] == 137
    assert not _marked(key.uuid)


def _marked(uuid: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"QME_TASK_ID={uuid}".encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


async def test_a_failure_is_retried(lab: Lab) -> None:
    """With retries left the ending moves the attempt into the history; the worker enqueues nothing."""
    async with lab.worker():
        key = await lab.submit("sh", "-c", "exit 3", retry=RetryPolicy(limit=1, delay=5.0))
        record = await lab.record(key, lambda record: record.attempt == 2)
        assert await until(lambda: _is_empty(lab))
    assert (record.status, record.claim, record.released) == (Status.QUEUED, None, None)
    assert [(line.attempt, line.outcome, line.returncode) for line in record.attempts] == [
        (1, Outcome.FAILED, 3)
    ]


async def test_progress_shows_while_it_runs(lab: Lab) -> None:
    """A running task's record gets its pid after about a second, and is written no more than needed."""
    async with lab.worker(), lab.bus.follow(subjects.CHANGES) as changes:
        key = await lab.submit("sleep", "2.5")
        record = await lab.running(key)
        assert (record.status, record.data["cmd"]) == (Status.RUNNING, ["sleep", "2.5"])
        os.kill(record.data["pid"], 0)
        entry = await lab.entry(key)
        await lab.ended(key)
        final = await lab.entry(key)
        for _ in range(4):  # submitted, claimed and started, progress, ended
            change = await anext(changes)
        assert change is not None
        assert change.seq == final.revision
    assert final.revision > entry.revision


async def test_unknown_keys_survive(lab: Lab) -> None:
    """What a newer version wrote into the record stays through claim, progress and end."""
    async with lab.worker():
        key = await lab.submit("sleep", "1.5", host="here")
        entry = await lab.record(key, lambda record: record.claim is not None)
        while True:
            stored = await lab.entry(key)
            document = {**json.loads(stored.value.model_dump_json()), "schema": 2, "colour": {"deep": [1]}}
            document["claim"]["since"] = "v2"
            newer = TaskRecord.model_validate(document)
            try:
                await lab.records.update(str(key), newer, stored.revision)
                break
            except Conflict:  # the worker was first
                continue
        record = await lab.ended(key)
    assert entry.claim is not None
    assert record.model_dump(mode="json")["colour"] == {"deep": [1]}
    assert record.model_dump(mode="json")["schema"] == 2


async def test_presence(lab: Lab) -> None:
    """The definition says what the executor takes; the heartbeat lives and goes with the worker."""
    definitions = Bucket(lab.bus, subjects.BUCKET_EXECUTORS, Definition)
    heartbeats = Bucket(lab.bus, subjects.BUCKET_EXECUTORS, Heartbeat)
    hb_key = subjects.heartbeat_key("shell", POOL, lab.spool.worker_id)
    async with lab.worker(slots=3):
        beat = await until(lambda: heartbeats.get(hb_key))
        found = await until(lambda: definitions.get(subjects.definition_key("shell", POOL)))
    assert (found.value.matchstring, found.value.personal, found.value.admits(USER)) == (None, True, True)
    assert [info.name for info in found.value.actions] == ["status", "output", "error", "outputs", "cancel"]
    assert (beat.value.slots, beat.value.active, beat.value.pid) == (3, 0, os.getpid())
    assert await heartbeats.get(hb_key) is None
    assert await definitions.get(subjects.definition_key("shell", POOL)) is not None


async def test_an_account_of_another_name_serves_its_user_on_the_bus(lab: Lab) -> None:
    """Without a pool the worker serves whom its credentials name, since commands are routed by that name."""
    async with lab.worker(settings=replace(lab.settings, user="ann.smith")):
        record = await lab.ended(await lab.submit("true"))
    assert (record.pool, record.outcome) == (POOL, Outcome.SUCCESS)


async def test_a_higher_version_is_not_overwritten(lab: Lab) -> None:
    """Of two definitions the higher version stays; a lower one is replaced."""
    definitions = Bucket(lab.bus, subjects.BUCKET_EXECUTORS, Definition)
    key = subjects.definition_key("shell", POOL)
    async with lab.worker():
        first = await until(lambda: definitions.get(key))
    await definitions.update(key, first.value.model_copy(update={"version": "10.0"}), first.revision)
    async with lab.worker():
        await lab.ended(await lab.submit("true"))
        newer = await definitions.get(key)
    assert newer is not None
    assert newer.value.version == "10.0"
    await definitions.update(key, newer.value.model_copy(update={"version": "0.9"}), newer.revision)
    async with lab.worker():

        async def is_ours() -> bool:
            entry = await definitions.get(key)
            return entry is not None and entry.value.version == first.value.version

        assert await until(is_ours)


async def test_of_equal_versions_the_last_start_counts(lab: Lab) -> None:
    """Two workers of a pool that admit different users do not overwrite each other for ever."""
    definitions = Bucket(lab.bus, subjects.BUCKET_EXECUTORS, Definition)
    key = subjects.definition_key("shell", POOL)
    async with lab.worker():
        first = await until(lambda: definitions.get(key))
        theirs = first.value.model_copy(update={"users": ("bob",)})
        await definitions.update(key, theirs, first.revision)
        beats = definitions.stream
        before = (await lab.bus.state(beats)).last
        await until(lambda: _beaten(lab, beats, before + 3))
        entry = await definitions.get(key)
        assert entry is not None
        assert entry.value.users == ("bob",)
    async with lab.worker():

        async def is_ours() -> bool:
            entry = await definitions.get(key)
            return entry is not None and entry.value.users == ()

        assert await until(is_ours)


async def _beaten(lab: Lab, stream: str, last: int) -> bool:
    return (await lab.bus.state(stream)).last >= last


async def test_one_worker_per_spool(lab: Lab) -> None:
    """A second worker on the same spool is refused, and says why."""
    async with lab.worker():
        await lab.ended(await lab.submit("true"))
        with pytest.raises(SpoolBusy, match="another worker uses the spool"):
            async with lab.worker():
                await asyncio.sleep(5)


async def test_slots_bound_what_runs(lab: Lab) -> None:
    """No more than `slots` tasks run at a time; the others wait in the queue."""
    async with lab.worker(slots=2):
        keys = [await lab.submit("sleep", "0.4") for _ in range(5)]
        most = 0
        while not all([(await lab.entry(key)).value.ended for key in keys]):
            most = max(most, sum([(await lab.entry(key)).value.claim is not None for key in keys]))
            await asyncio.sleep(0.02)
    assert most == 2


async def test_it_waits_until_somebody_sets_the_bus_up(bare_lab: Lab) -> None:
    """A worker that comes before the submitter waits for streams and consumer."""
    async with bare_lab.worker():
        await asyncio.sleep(0.2)
        await bare_lab.set_up()
        record = await bare_lab.ended(await bare_lab.submit("echo", "late"))
    assert record.data["output"] == ["late\n"]


async def test_the_end_is_marked_in_the_spool(lab: Lab) -> None:
    """A finished attempt needs no look at the next start."""
    async with lab.worker():
        key = await lab.submit("true")
        record = await lab.ended(key)
        await until(lambda: _reported(lab, key.uuid))
    assert record.finished is not None
    assert record.finished - record.created < timedelta(seconds=10)


async def _reported(lab: Lab, uuid: str) -> bool:
    return is_reported(lab.spool.attempt(uuid, 1))


async def test_nobody_works_in_another_persons_own_pool(lab: Lab) -> None:
    """A pool that begins as personal ones do is its person's: a worker of somebody else would take their commands."""
    with pytest.raises(InvalidRequest, match="u-bob is the pool of another person"):
        await work(ShellExecutor(ShellSettings()), lab.settings, lab.server.connect("ann"), pool="u-bob")


async def test_progress_survives_rights_that_were_away(lab: Lab) -> None:
    """Credentials are renewed while a task runs: what it exports then is told once that is over."""
    bus = FaultyBus(lab.server.connect(USER))
    async with lab.worker(bus=bus):
        key = await lab.submit("sleep", "60")
        await lab.record(key, lambda record: record.claim)
        bus.before = once("$KV.qme_tasks.", NotPermitted())
        assert not (await lab.running(key)).ended
        await lab.cancel(key)
        await lab.ended(key)


async def test_an_end_is_told_whatever_the_bus_says(lab: Lab) -> None:
    """A refusal that nobody knows, as of a stream that is offline, is no reason to leave a record as it was."""
    bus = FaultyBus(lab.server.connect(USER))
    async with lab.worker(bus=bus):
        key = await lab.submit("sh", "-c", "sleep 0.3; exit 4")
        await lab.record(key, lambda record: record.claim)
        bus.before = once("$KV.qme_tasks.", QmeError("the bus says: stream is offline (10194)"))
        assert (await lab.ended(key)).data["returncode"] == 4

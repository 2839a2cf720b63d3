"""Every verb that needs a bus: what it prints where, and its exit code. A real submitter, a player for a worker."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Done
from tests.unit.client.scene import USER, WORKER, Scene, now

from qme.bus import topology
from qme.bus.kv import Bucket
from qme.client import Options
from qme.contracts import subjects
from qme.contracts.elements import Element, pack
from qme.contracts.executors import Heartbeat
from qme.contracts.tasks import HEADER_OUTCOME, Outcome
from qme.settings import Settings

Run = Callable[..., Done]
A, B, C = (f"01990000-{four}-7000-8000-00000000{four}" for four in ("aaaa", "bbbb", "cccc"))
ID = re.compile(r"shell-[0-9a-f-]{36}\n")


async def two_ended(scene: Scene) -> None:
    """One success (the last), one failure."""
    bad = await scene.task("exit", "3", uuid=A, message="a note", labels={"n": "1"})
    await scene.start(bad)
    await scene.end(bad, Outcome.FAILED, 3, output=["x"])
    good = await scene.run("echo", "one", uuid=B, output=b"one\n")
    await scene.write(good, b"oops\n", "stderr")
    await scene.last_is(good)


async def two_noted(scene: Scene) -> None:
    """The same, and the submitter has copied it all to the audit trail."""
    async with asyncio.timeout(10), scene.bus.follow(subjects.event_filter(B)) as noted:
        await two_ended(scene)
        async for event in noted:
            if event is not None and HEADER_OUTCOME in event.headers:
                return


async def one_running(scene: Scene) -> None:
    """A task that a worker has and does not end."""
    key = await scene.task("sleep", "1000", uuid=A)
    await scene.start(key)
    await scene.last_is(key)


async def staffed(scene: Scene, paused: str | None = None) -> None:
    """A worker gives a sign of life, and the submitter has heard it."""
    key = subjects.heartbeat_key("shell", subjects.personal_pool(USER), WORKER)
    beat = Heartbeat(
        executor="shell",
        pool=subjects.personal_pool(USER),
        worker=WORKER,
        host="laptop",
        pid=1,
        version="1",
        slots=2,
        active=0,
        started=now(),
        at=now(),
        interval=60.0,
        paused=paused,
    )
    await Bucket(scene.bus, subjects.BUCKET_EXECUTORS, Heartbeat).put(key, beat)
    async with asyncio.timeout(10):
        while not (await scene.client.match("true")).candidates[0].online:  # noqa: ASYNC110 - asking is all there is
            await asyncio.sleep(0.01)


# -- run and submit --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("words", "done"),
    [
        (("echo", "hello", "moto"), Done(0, "hello moto\n", "")),
        (("exit", "3"), Done(3, "", "")),
        (("-m", "x", "--", "echo", "--help"), Done(0, "--help\n", "")),
        (("echo one | two",), Done(0, "one | two\n", "")),
    ],
)
def test_run_is_the_command(qme: Run, words: tuple[str, ...], done: Done) -> None:
    """Its output, its exit code, and nothing of our own."""
    assert qme("run", *words, before=staffed) == done


def test_run_under_a_known_key_shows_what_was(qme: Run) -> None:
    """The command is not run again; its output and its exit code are the first time's."""

    async def once(scene: Scene) -> None:
        await staffed(scene)
        result = await scene.client.submit(["echo", "once"], Options(key="k"))
        await scene.client.wait([result.uuid])

    assert qme("run", "--key", "k", "echo", "once", before=once) == Done(0, "once\n", "")


def test_run_fails_as_itself_with_125(qme: Run) -> None:
    """Where no executor takes it, for one."""
    done = qme("run", "--executor", "nosuch", "true")
    assert (done.code, done.out) == (125, "")
    assert done.err.startswith("qme: ")


def test_submit_prints_the_id_alone(qme: Run) -> None:
    """For use in scripts; --json the record."""
    assert ID.fullmatch(qme("submit", "echo", "x").out)
    record = json.loads(qme("submit", "-l", "a=b", "--json", "echo", "x").out)
    assert (record["command"], record["labels"]) == ("echo x", {"a": "b"})


@pytest.mark.parametrize("verb", ["run", "submit"])
def test_who_submits_is_told_that_nobody_is_there(qme: Run, verb: str) -> None:
    """At once, on stderr; nothing is said where a worker is alive."""
    said = "qme: no worker of shell (pool u-ann) is alive; the task waits for one\n"
    assert qme(verb, "echo", "x").err == said
    assert qme(verb, "echo", "x", before=staffed).err == ""


@pytest.mark.parametrize(("command", "code"), [("exit 0", 0), ("exit 7", 7)])
def test_submit_can_wait(qme: Run, command: str, code: int) -> None:
    """Then it exits as the command did."""
    done = qme("submit", "--wait", *command.split())
    assert done.code == code
    assert ID.fullmatch(done.out)
    assert json.loads(qme("submit", "--wait", "--json", *command.split()).out)["data"]["returncode"] == code


def test_submit_a_list(qme: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One id a line; blank lines and comments are none; the worst one's code when it waits."""
    text = "echo one\n\n# no command\nexit 3\n  echo three  \n"
    (tmp_path / "list").write_text(text)
    done = qme("submit", "--file", f"{tmp_path}/list")
    assert (done.code, len(ID.findall(done.out))) == (0, 3)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    done = qme("submit", "--wait", "--json", "--file", "-")
    assert done.code == 1
    records = [json.loads(line) for line in done.out.splitlines()]
    assert sorted(record["command"] for record in records) == ["echo one", "echo three", "exit 3"]


def test_refused_lines_are_named(qme: Run, tmp_path: Path) -> None:
    """With their number and reason; the first one's exit code."""
    (tmp_path / "list").write_text("echo one\n\necho two\n")
    done = qme("submit", "--executor", "nosuch", "--file", f"{tmp_path}/list")
    assert (done.code, done.out) == (6, "")
    assert re.search(r"^qme: line 1: .*nosuch.*\nqme: line 3: ", done.err, re.MULTILINE)


# -- reading ---------------------------------------------------------------------------------------------------------
def test_ls(qme: Run) -> None:
    """Newest first; whole ids when piped; JSON without output."""
    rows = [line.split("\t") for line in qme("ls", before=two_ended).out.splitlines()]
    assert [(row[0], row[1], row[2], row[4], row[5]) for row in rows] == [
        (f"shell-{B}", "shell", "success", "", "echo one"),
        (f"shell-{A}", "shell", "failed", "a note", "exit 3"),
    ]
    records = json.loads(qme("ls", "--json", before=two_ended).out)
    assert [record["uid"][-36:] for record in records] == [B, A]
    assert "output" not in records[1]["data"]
    assert records[1]["data"]["returncode"] == 3


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--status", "failed"), [A]),
        (("--status", "failed", "--status", "success"), [B, A]),
        (("--label", "n=1"), [A]),
        (("--user", "bob"), []),
        (("--all-users",), [B, A]),
        (("shell",), [B, A]),
        (("aaaa",), [A]),
        (("aaaa", f"shell-{B}"), [B, A]),
        (("last",), [B]),
    ],
)
def test_ls_narrows(qme: Run, words: tuple[str, ...], found: list[str]) -> None:
    """By status or outcome, label, user, executor, id."""
    done = qme("ls", "--jsonl", *words, before=two_ended)
    assert [json.loads(line)["uid"][-36:] for line in done.out.splitlines()] == found
    assert done.code == 0


def test_ls_says_what_it_left_out(qme: Run) -> None:
    """On stderr; an executor that does not exist is an error."""
    assert "--limit 0" in qme("ls", "--limit", "1", before=two_ended).err
    assert qme("ls", "-n", "2", before=two_ended).err == ""
    assert qme("ls", "nosuch", before=two_ended).code == 3


def test_get_search_events_export(qme: Run) -> None:
    """JSON of the last task; a table of what matches; the story; everything."""
    record = json.loads(qme("get", before=two_ended).out)
    assert (record["uid"], record["data"]["output"]) == (f"shell-{B}", ["one\n"])
    assert [
        line.split("\t")[0][-36:] for line in qme("search", "NOTE", before=two_ended).out.splitlines()
    ] == [A]
    assert json.loads(qme("search", "--jsonl", "echo", before=two_ended).out)["uid"] == f"shell-{B}"
    story = [line.split("\t")[1:] for line in qme("events", before=two_noted).out.splitlines()]
    assert story == [["queued", "1", "ann"], ["running", "1", "w1"], ["success", "1", "w1"]]
    exported = [json.loads(line) for line in qme("export", "--output", before=two_ended).out.splitlines()]
    assert [record["uid"][-36:] for record in exported] == [A, B]
    assert exported[1]["data"]["output"] == ["one\n"]


@pytest.mark.parametrize(
    ("words", "uuids"),
    [
        (("--status", "failed"), [A]),
        (("--label", "n=1"), [A]),
        (("--user", "nobody"), []),
        (("--older-than", "1d"), []),
        (("--older-than", "0.000001s", "--all-users"), [A, B]),
        (("nosuch",), []),
    ],
)
def test_export_takes_what_is_chosen(qme: Run, words: tuple[str, ...], uuids: list[str]) -> None:
    """The options of `ls`, and the age since the end; an unknown status is a slip."""
    lines = qme("export", *words, before=two_ended).out.splitlines()
    assert [json.loads(line)["uid"][-36:] for line in lines] == uuids
    assert qme("export", "--status", "done").code == 2


def test_an_unreadable_record_hides_no_other(qme: Run) -> None:
    """It is named on stderr."""

    async def one_bad(scene: Scene) -> None:
        await two_ended(scene)
        await scene.spoil(await scene.task("bad"))

    for verb in ("ls", "export"):
        done = qme(verb, before=one_bad)
        assert len(done.out.splitlines()) == 2
        assert "can't be read" in done.err


@pytest.mark.parametrize(
    ("words", "out", "err"),
    [
        ((), "one\n", ""),
        (("--stderr",), "oops\n", ""),
        (("--both",), "one\n", "oops\n"),
        (("-f",), "one\n", ""),
    ],
)
def test_logs(qme: Run, words: tuple[str, ...], out: str, err: str) -> None:
    """Bytes as they are; both streams go where they belong."""
    assert qme("logs", *words, before=two_ended) == Done(0, out, err)


async def only_stderr(scene: Scene) -> None:
    """A task that wrote nothing to its stdout."""
    key = await scene.task("oops", uuid=A)
    await scene.start(key)
    await scene.write(key, b"oops\n", "stderr")
    await scene.end(key, Outcome.FAILED, 1)
    await scene.last_is(key)


@pytest.mark.parametrize("line", ["logs", "logs -f", "exec output"])
def test_an_empty_stdout_points_at_stderr(qme: Run, line: str) -> None:
    """One line, and only where nothing else was asked for."""
    said = f"qme: its stdout is empty, its stderr is not: `qme logs --stderr shell-{A}` shows it\n"
    assert qme(*line.split(), before=only_stderr) == Done(0, "", said)


@pytest.mark.parametrize(("flag", "out", "err"), [("--stderr", "oops\n", ""), ("--both", "", "oops\n")])
def test_who_asks_for_stderr_needs_no_pointer(qme: Run, flag: str, out: str, err: str) -> None:
    """The bytes, nothing else."""
    assert qme("logs", flag, before=only_stderr) == Done(0, out, err)


def test_logs_of_an_attempt_that_was_not(qme: Run) -> None:
    """A mistake, with the attempts there are."""
    done = qme("logs", "--attempt", "2", before=two_ended)
    assert done.code == 2
    assert "attempts 1 to 1" in done.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((B,), 0, ""),
        ((A,), 3, ""),
        ((A, A), 1, "failed"),
        ((A, B), 1, "success"),
        (("ffff",), 125, "no such task"),
        (("ffff", A), 3, "no such task"),
    ],
)
def test_wait(qme: Run, words: tuple[str, ...], code: int, said: str) -> None:
    """Of one task its own code, of several the worst and a line for each."""
    done = qme("wait", *words, before=two_ended)
    assert done.code == code
    assert said in done.out + done.err


@pytest.mark.parametrize(
    ("ids", "code", "said"),
    [
        ((A,), 125, "the task has not ended, and goes on"),
        ((A, A), 9, "the task has not ended, and goes on"),
        ((A, B), 9, "1 of 2 tasks has not ended, and goes on"),
        ((A, C), 9, "2 of 2 tasks have not ended, and go on"),
    ],
)
def test_wait_runs_out(qme: Run, ids: tuple[str, ...], code: int, said: str) -> None:
    """The task goes on."""

    async def some(scene: Scene) -> None:
        await one_running(scene)
        await scene.run("echo", uuid=B)
        await scene.start(await scene.task("sleep", "1000", uuid=C))

    done = qme("wait", "--timeout", "0.05", *ids, before=some)
    assert (done.code, done.out) == (code, "")
    assert f"timed out after 0.05 s; {said}" in done.err


def test_a_lost_task_says_that_it_may_come_back(qme: Run) -> None:
    """125 for one, since nobody knows the command's code; 8 for several."""

    async def lost(scene: Scene) -> None:
        await two_ended(scene)
        key = await scene.task("x", uuid=B[:-1] + "c")
        await scene.start(key)
        await scene.lose(key)

    one = qme("wait", "bbbc", before=lost)
    assert one.code == 125
    assert "lost" in one.err
    several = qme("wait", "bbbc", "aaaa", before=lost)
    assert several.code == 8
    assert "corrected" in several.err


# -- changing --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("get", f"{A}[1]"), 3, "has no elements"),
        (("get", f"{A}[one]"), 2, "not the numbers of elements: 'one'; say 3, 3-7 or 0,4-6"),
        (("logs", f"{A}[1-2]"), 2, "one element at a time, not 1-2"),
        (("logs", "-f", f"{A}[1]"), 2, "without --follow"),
        (("cancel", f"{A}[1]"), 2, "shell has no action 'cancel_elements'"),
        (("cancel", f"{A}[2-1]"), 2, "not the numbers of elements"),
    ],
)
def test_elements_where_there_are_none(qme: Run, words: tuple[str, ...], code: int, said: str) -> None:
    """A task that is no array has none; what can't be numbers of elements is refused before anything is done."""
    done = qme(*words, before=one_running)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


async def an_array(scene: Scene) -> None:
    """An array that has ended, more elements than are shown one by one."""
    good = [Element(str(n), "COMPLETED", "success", 0, "n1") for n in range(1, 1200)]
    bad = Element("0", "FAILED", "failed", 3, "n2")
    key = await scene.task("sbatch", "x", uuid=A)
    await scene.start(key)
    await scene.end(key, Outcome.FAILED, 3, array={"total": 1200, **pack([*good, bad])})


def test_get_shows_elements(qme: Run) -> None:
    """A row for each as far as there is room, the bad ones surely; and each by its number."""
    array = json.loads(qme("get", A, before=an_array).out)["data"]["array"]
    assert (len(array["elements"]), array["elements_left_out"], "groups" in array) == (1000, 200, False)
    assert array["elements"]["0"] == {"state": "FAILED", "outcome": "failed", "returncode": 3, "node": "n2"}
    rows = json.loads(qme("get", f"{A}[0,1199]", before=an_array).out)
    assert [(row["element"], row["outcome"], row["node"]) for row in rows] == [
        ("0", "failed", "n2"),
        ("1199", "success", "n1"),
    ]
    assert "tells of no element 1200" in qme("get", f"{A}[1200]", before=an_array).err
    assert f"{A}[0]'" in qme("logs", A, before=an_array).err


async def several_jobs(scene: Scene) -> None:
    """A heterogeneous job that has ended: its jobs have no numbers, and one output."""
    parts = [Element(name, "COMPLETED", "success", 0, "n1") for name in ("+0", "+1")]
    key = await scene.task("sbatch", "x", uuid=A)
    await scene.start(key)
    await scene.end(key, array={"total": 2, **pack(parts)})


def test_jobs_without_numbers_have_one_output(qme: Run) -> None:
    """Nobody is told to ask for it by element; `get` has a row for each all the same."""
    assert qme("logs", A, before=several_jobs) == (0, "", "")
    array = json.loads(qme("get", A, before=several_jobs).out)["data"]["array"]
    assert list(array["elements"]) == ["+0", "+1"]


def test_cancel(qme: Run) -> None:
    """One that waits ends; one that has ended is no error; one that is unknown is."""

    async def waiting(scene: Scene) -> None:
        await scene.task("x", uuid=A)

    assert qme("cancel", "aaaa", "--reason", "enough", before=waiting).code == 0
    again = qme("cancel", A, B, before=two_ended)
    assert (again.code, again.out) == (0, "")
    assert again.err.count("qme: ") == 2
    assert qme("cancel", "ffff", before=two_ended).code == 3


def test_cancel_all(qme: Run) -> None:
    """All of one's own that have not ended, or those with a status or label; not beside names, no filter without."""

    async def some(scene: Scene) -> None:
        await two_ended(scene)
        await scene.task("x", uuid=C, labels={"n": "1"})
        await scene.start(await scene.task("x", uuid=C[:-1] + "d"))
        await scene.task("x", user="bob")

    done = qme("cancel", "--all", "--status", "queued", before=some)
    assert (done.code, done.out, done.err) == (0, "", "qme: all: 1 cancelled\n")
    done = qme("cancel", "--all", "--reason", "enough", before=some)
    assert (done.code, done.err) == (0, "qme: all: 1 cancelled, 1 asked to end\n")
    assert qme("cancel", "--all", "--label", "n=2", before=some).err == "qme: all: 0 cancelled\n"
    for words in (("--all", C), (), ("--status", "queued", C), ("--signal", "USR1", "--reason", "x", C)):
        assert qme("cancel", *words, before=some).code == 2


def test_cancel_with_a_signal(qme: Run) -> None:
    """What does not run can't be sent one, and is no error among all."""
    assert "nothing of it runs" in qme("cancel", "--signal", "USR1", A, before=two_ended).err
    done = qme("cancel", "--signal", "USR1", "--all", before=two_ended)
    assert (done.code, done.err) == (0, "")


def test_rerun(qme: Run) -> None:
    """Prints the ids; one that runs is refused."""
    assert qme("rerun", "aaaa", before=two_ended) == Done(0, f"shell-{A}\n", "")
    last = qme("rerun", before=two_ended)
    assert (last.code, last.out) == (0, f"shell-{B}\n")
    assert last.err == f"qme: reruns your last task, shell-{B}: echo one\n"
    refused = qme("rerun", before=one_running)
    assert (refused.code, refused.out) == (2, "")


def test_clear(qme: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """By id, by executor, by age, or all; nobody to ask is an error unless forced."""
    assert "cleared 2 tasks" in qme("clear", "--force", before=two_ended).err
    assert "cleared 1 task\n" in qme("clear", "aaaa", "--force", before=two_ended).err
    assert "cleared 2 tasks" in qme("clear", "shell", "--force", before=two_ended).err
    assert "nothing to clear" in qme("clear", "--older-than", "1d", "--force", before=two_ended).err
    assert qme("clear", "nosuch", "--force", before=two_ended).code == 3
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    refused = qme("clear", before=two_ended)
    assert refused.code == 2
    assert "--force" in refused.err


def test_clear_asks_on_a_terminal(qme: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a yes is one."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for answer, said in (("n", "nothing was cleared"), ("", "nothing was cleared"), ("y", "cleared 2 tasks")):
        monkeypatch.setattr(sys, "stdin", Terminal(answer + "\n"))
        done = qme("clear", before=two_ended)
        assert done.code == 0
        assert said in done.err


def test_clear_leaves_what_runs(qme: Run) -> None:
    """It is not in `all of mine`, and refused by its id."""
    assert "nothing to clear" in qme("clear", "--force", before=one_running).err
    refused = qme("clear", "aaaa", "--force", before=one_running)
    assert refused.code == 2
    assert "--cancel" in refused.err
    assert refused.err.count("\n") == 1


# -- executors -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("words", "code", "out"),
    [
        (("shell",), 0, "status\t"),
        (("output",), 0, "one\n"),
        ((A, "status"), 0, '"outcome": "failed"'),
        (("aaaa", "output"), 0, ""),
        (("error",), 0, "oops\n"),
        (("nosuch",), 3, ""),
        ((A, "frobnicate"), 2, ""),
        ((A, "output", "too", "much"), 2, ""),
        (("output", "nonsense=1"), 2, ""),
    ],
)
def test_exec_has_three_forms(qme: Run, words: tuple[str, ...], code: int, out: str) -> None:
    """EXECUTOR lists, ACTION works on the last task, ID ACTION on any."""
    done = qme("exec", *words, before=two_ended)
    assert done.code == code, done.err
    assert out in done.out
    assert bool(done.err) == bool(code)


def test_executors(qme: Run) -> None:
    """All of them; the workers of one; one that is not known."""
    assert qme("executors").out.split("\t")[:4] == ["shell", "u-ann", "offline", "0"]
    assert qme("executors", "shell").out.startswith("shell\tu-ann\t-")
    assert qme("executors", "nosuch").code == 3
    assert qme("executors", "forget").code == 2
    assert qme("executors", "a", "b").code == 2


def test_match(qme: Run) -> None:
    """The candidates, and why on stderr; 6 where nobody takes it."""
    done = qme("match", "echo", "--help")
    assert (done.code, done.out.split("\t")[0]) == (0, "shell")
    assert done.err.startswith("qme: shell: ")
    assert qme("match", "--executor", "nosuch", "true").code == 6
    assert json.loads(qme("match", "--json", "true").out)["executor"] == "shell"


def test_doctor_looks_at_each_part(qme: Run) -> None:
    """And says what is wrong: here no worker gives a sign of life."""
    done = qme("doctor")
    states = dict(line.split("\t")[:2] for line in done.out.splitlines() if not line.startswith("slurm "))
    assert states == {
        "settings": "ok",
        "bus": "ok",
        "records": "ok",
        "room": "ok",
        "submitter": "ok",
        "workers": "problem",
    }
    assert done.code == 3


def test_doctor_tells_of_what_is_full(qme: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker without room, a bucket from its share on, the disk under the local stack."""

    async def paused(scene: Scene) -> None:
        await staffed(scene, "the disk of its spool is full")

    done = qme("doctor", before=paused)
    assert done.code == 1
    assert "workers\tproblem\tshell/u-ann 1; paused: w1 (shell): the disk of its spool is full" in done.out

    async def filled(scene: Scene) -> None:
        await staffed(scene)
        limits = Settings(home=Path("/nowhere"), records_max_bytes=1 << 20)
        await scene.bus.ensure(topology.streams(limits))
        await scene.bus.append("$KV.qme_tasks.shell.p.x", bytes(1_000_000))

    done = qme("doctor", before=filled)
    assert done.code == 1
    assert re.search(
        r"^room\tproblem\t.*KV_qme_tasks 95%, KV_qme_specs 0% full; new tasks are refused from 90%",
        done.out,
        re.M,
    )
    monkeypatch.setattr("qme.cli.doctor.full_disk", lambda _: "the disk is full")
    done = qme("doctor", before=staffed)
    assert (done.code, "disk\tproblem\tthe disk is full\n" in done.out) == (1, True)

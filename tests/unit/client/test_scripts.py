"""Scripts that travel by themselves: which file a command's own words name, and when it is sent."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.scene import USER, Scene, now
from tests.unit.client.world import world

from qme.bus.kv import Bucket
from qme.client import control
from qme.client.scripts import script_of
from qme.client.submission import Options, prepare
from qme.contracts import subjects
from qme.contracts.executors import Definition
from qme.contracts.messages import MAX_FILES, MatchReply, MatchRequest
from qme.contracts.tasks import TaskSpec
from qme.settings import Settings

JOB, OTHER = b"#!/bin/sh\necho job\n", b"#!/bin/sh\necho other\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with scripts and other files."""
    here = tmp_path / "here"
    for name, content in {
        "job.sh": JOB,
        "-odd.sh": JOB,
        "sub/job.sh": OTHER,
        "sub/only.sh": JOB,
        "bin/tool": JOB,
        "plain.txt": b"no script\n",
        "large.sh": b"#!/bin/sh\n" + b"#" * MAX_FILES,
    }.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(content)
    os.mkfifo(here / "pipe.sh")
    monkeypatch.chdir(here)
    monkeypatch.setenv("PATH", f"{here}/bin:/usr/bin")
    return here


def found(command: str | list[str], options: Options | None = None) -> tuple[str, bytes] | None:
    """Name and content of the script that would be sent."""
    script = script_of(prepare(command, options or Options(), host="laptop"))
    return (script.file.name, base64.b64decode(script.file.content)) if script else None


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        (["sbatch", "job.sh", "arg"], ("job.sh", JOB)),
        (["/usr/bin/sbatch", "-p", "main", "-J", "x", "./job.sh"], ("job.sh", JOB)),
        ("sbatch -J 'two words' job.sh", ("job.sh", JOB)),
        (["sbatch", "--", "-odd.sh"], ("-odd.sh", JOB)),
        (["sbatch", "-D", "sub", "job.sh"], ("job.sh", OTHER)),
        (["sbatch", "--chdir=sub", "sub/only.sh"], ("only.sh", JOB)),
        (["sbatch", "tool"], ("tool", JOB)),
        (["sbatch", "-o", "job.sh", "plain.txt"], None),  # an option's value is no script
        (["sbatch", "--wrap", "true", "job.sh"], None),
        (["sbatch", "plain.txt"], None),
        (["sbatch", "missing.sh", "job.sh"], None),
        (["sbatch", "large.sh"], None),
        (["sbatch", "pipe.sh"], None),
        (["sbatch", "sub"], None),
        (["sbatch"], None),
        (["sbatchx", "job.sh"], None),
        (["sh", "job.sh"], None),
        (["cat", "sbatch", "job.sh"], None),
        ("sbatch job.sh | tee log", None),  # it needs a shell, which its executor refuses
        ("sbatch 'job.sh", None),
    ],
)
def test_the_script_is_what_sbatch_would_read(
    folder: Path, command: str | list[str], sent: tuple[str, bytes] | None
) -> None:
    """The word that sbatch takes for its script, where it looks, if it is a script; nothing else of the command."""
    assert found(command) == sent


def test_a_script_that_was_sent_by_name_is_not_sent_twice(folder: Path) -> None:
    """--send goes first, and its limit counts the script too."""
    assert found(["sbatch", "job.sh"], Options(send=["job.sh"])) is None
    assert found(["sbatch", "job.sh"], Options(stdin=b"x" * (MAX_FILES - len(JOB)))) == ("job.sh", JOB)
    assert found(["sbatch", "job.sh"], Options(stdin=b"x" * (MAX_FILES - len(JOB) + 1))) is None


@pytest.mark.parametrize(
    ("program", "says", "sends"),
    [("sbatch", "sbatch", True), ("sbatch", None, False), ("sbatch", "tar", False), ("cat", "sbatch", False)],
)
async def test_only_an_executor_that_wants_scripts_is_sent_them(
    tmp_path: Path, folder: Path, program: str, says: str | None, sends: bool
) -> None:
    """Its definition switches it on, and can neither choose the file nor bring a grammar of its own."""
    async with world(Settings(home=tmp_path, user=USER)) as scene:
        await define(scene, says)
        result = await scene.client.submit([program, "job.sh"])
        assert result.record is not None
        spec = await Bucket(scene.bus, subjects.BUCKET_SPECS, TaskSpec).get(str(result.record.key))
    assert spec is not None
    assert (spec.value.script is not None) == sends
    assert list(result.record.files) == (["job.sh"] if sends else [])


async def test_many_commands_are_asked_about_together(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request for a batch, whose tasks go out before the next is asked about; each as its own words route it."""
    monkeypatch.setattr(control, "MAX_ITEMS", 50)
    asked: list[str] = []
    async with world(Settings(home=tmp_path, user=USER)) as scene:
        await define(scene, "sbatch", matchstring="gpu")
        request = scene.client.bus.request

        async def counted(subject: str, data: bytes, **options: Any) -> bytes:
            asked.append(subject.rpartition(".")[2])
            return await request(subject, data, **options)

        monkeypatch.setattr(scene.client.bus, "request", counted, raising=False)
        options = Options()
        tasks = [
            prepare(["sbatch", "job.sh", str(number), "gpu" if number % 2 else "cpu"], options, host="laptop")
            for number in range(120)
        ]
        results = [result async for result in scene.client.submit_many(map(scene.client.own, tasks))]
        specs = Bucket(scene.bus, subjects.BUCKET_SPECS, TaskSpec)
        sent = {}
        for result in results:
            entry = await specs.get(subjects.any_key(result.uuid))
            assert entry is not None
            sent[int(entry.value.argv[2])] = entry.value.script is not None
    assert asked == ["match", "submit"] * 3
    assert sent == {number: number % 2 == 1 for number in range(120)}


async def test_an_earlier_submitter_is_asked_one_by_one(
    stage: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers about the first command of a request only."""

    async def earlier(verb: str, request: MatchRequest, reply: type[MatchReply]) -> MatchReply:
        script = "sbatch" if request.argv[1] == "a" else None
        return MatchReply(command="", executor=None, pool=None, why="", script=script, candidates=())

    monkeypatch.setattr(stage.client.control, "_ask", earlier)
    commands = [("sbatch", name) for name in "aba"]
    assert await stage.client.control.scripts(commands, None, None) == ["sbatch", None, "sbatch"]


async def define(scene: Scene, script: str | None, matchstring: str = ".*") -> None:
    """Make an executor known that takes what matches."""
    definition = Definition(
        executor="greedy",
        pool=subjects.personal_pool(USER),
        matchstring=matchstring,
        account=USER,
        script=script,
        updated=now(),
    )
    key = subjects.definition_key("greedy", definition.pool)
    await Bucket(scene.bus, subjects.BUCKET_EXECUTORS, Definition).put(key, definition)

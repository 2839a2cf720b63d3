"""A worker with rules and commands that try to get around them: nothing of what is refused is ever started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.unit.worker.lab import Lab, encoded, now

from qme.client.executors import heartbeats
from qme.contracts.tasks import Outcome, RetryPolicy, SentFile, TaskRecord
from qme.lifecycle import Claimed
from qme_executor_shell import ShellExecutor, ShellSettings

LS = ("/usr/bin/ls",)


def _executor(**rules: Any) -> ShellExecutor:
    return ShellExecutor(ShellSettings(slots=4, **rules))


@pytest.fixture
def eve(tmp_path: Path) -> Path:
    """A folder of a user's own, with a program that leaves a mark under the name of an allowed one."""
    folder = tmp_path / "eve"
    folder.mkdir()
    program = folder / "ls"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/mark\n")
    program.chmod(0o755)
    (folder / "bin").symlink_to("/usr/bin")
    return folder


async def _refused(lab: Lab, *argv: str, **spec: Any) -> TaskRecord:
    key = await lab.submit(*argv, **spec)
    record = await lab.ended(key)
    assert not lab.spool.attempt(key.uuid, 1).start.exists()
    assert not (lab.home / "mark").exists()
    return record


TRIES: dict[str, tuple[tuple[str, ...], dict[str, Any], str]] = {
    "another program that runs it": (("env", "ls"), {}, "the program /usr/bin/env is not among"),
    "a relative path": (("./ls",), {}, "eve/ls is not among"),
    "dots in the path": (("/usr/bin/../../{eve}/ls",), {}, "eve/ls is not among"),
    "its own PATH": (("ls",), {"env": {"PATH": "{eve}"}}, "a task may not set PATH"),
    "the loader": (("ls",), {"env": {"LD_PRELOAD": "{eve}/x.so"}}, "a task may not set LD_PRELOAD"),
    "a string for the shell": (
        ("ls; touch {eve}/../mark",),
        {"shell": True},
        "takes no commands for a shell",
    ),
    "the shell": (("sh", "-c", "ls"), {}, "/sh is not among"),
    "no such program": (("lx",), {}, "there is no program 'lx'"),
}


async def test_ways_around_a_list_of_programs(lab: Lab, eve: Path) -> None:
    """Each is refused as `submit_failed`, the reason names rule and value, and no command was started."""
    async with lab.worker(_executor(allow=(LS,))):
        for name, (argv, spec, says) in TRIES.items():
            words = [word.replace("{eve}", str(eve)) for word in argv]
            env = {key: value.replace("{eve}", str(eve)) for key, value in spec.get("env", {}).items()}
            record = await _refused(lab, *words, **{**spec, "env": env, "cwd": str(eve)})
            assert (name, record.outcome, record.data["returncode"]) == (name, Outcome.SUBMIT_FAILED, 125)
            assert (record.reason or "").startswith("refused by this worker's rule ")
            assert says in (record.reason or "")


async def test_what_was_judged_is_what_runs(lab: Lab, eve: Path) -> None:
    """By whatever way it is found, an allowed program runs under the path that was judged."""
    async with lab.worker(_executor(allow=(LS,), variables=("PATH",))):
        for argv, env in (
            (("ls", "/"), {}),
            ((f"{eve}/bin/ls", "/"), {}),
            (("bin/../bin/ls", "/"), {}),
            (("ls", "/"), {"PATH": f"{eve}/none:{eve}/bin"}),
        ):
            record = await lab.ended(await lab.submit(*argv, cwd=str(eve), env=env))
            assert (record.outcome, record.data["cmd"]) == (Outcome.SUCCESS, ["/usr/bin/ls", "/"])
        refused = await _refused(lab, "ls", cwd=str(eve), env={"PATH": f".:{eve}/bin"})
        assert "eve/ls is not among" in (refused.reason or "")


async def test_a_task_s_own_path_stands_before_nothing(lab: Lab, eve: Path) -> None:
    """`nice` and `ionice` are this worker's, whatever lies on the PATH that a task brings."""
    for name in ("nice", "ionice"):
        (eve / name).symlink_to(eve / "ls")
    async with lab.worker(_executor(nice=3, ionice="idle")):
        record = await lab.ended(
            await lab.submit("/bin/sh", "-c", "read -r s < /proc/self/stat; echo $s", env={"PATH": str(eve)})
        )
    assert record.outcome is Outcome.SUCCESS
    assert record.data["output"][0].split()[18] == "3"
    assert not (lab.home / "mark").exists()


async def test_folders_are_judged_by_where_they_lead(lab: Lab, tmp_path: Path) -> None:
    """Links and dots are followed; nothing is laid out where it may not be; its own folder is always fine."""
    data, out = tmp_path / "data", tmp_path / "out"
    for folder in (data / "ann", out):
        folder.mkdir(parents=True)
    (tmp_path / "alias").symlink_to(data)
    (data / "leak").symlink_to(out)
    sent = SentFile(
        name="x",
        content=encoded(b"1"),
        sha256="6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
    )
    async with lab.worker(_executor(directories=(tmp_path / "alias",))):
        for cwd in (f"{data}/leak", f"{data}/ann/../../out", f"{tmp_path}/data2", str(out)):
            Path(tmp_path / "data2").mkdir(exist_ok=True)
            record = await _refused(lab, "touch", "mark", cwd=cwd, cwd_given=True, files=(sent,))
            assert (record.outcome, os.listdir(out)) == (Outcome.SUBMIT_FAILED, [])  # noqa: PTH208
            assert f"is not below {data}" in (record.reason or "")
        for good in (f"{tmp_path}/alias/ann", None):
            record = await lab.ended(await lab.submit("pwd", "-P", cwd=good))
            assert record.outcome is Outcome.SUCCESS
        record = await lab.ended(await lab.submit("pwd", cwd=f"{tmp_path}/alias/ann"))
        assert record.data["pwd"] == str(data / "ann")


async def test_users_and_retries(lab: Lab) -> None:
    """A refusal is not tried again by itself: the rules stand as they are."""
    async with lab.worker(_executor(users=("bob",))):
        record = await _refused(lab, "true", retry=RetryPolicy(limit=3, delay=0.0))
    assert (record.reason, record.attempt) == (
        "refused by this worker's rule users: it takes no tasks of ann",
        1,
    )


async def test_the_worker_s_time_limit(lab: Lab) -> None:
    """It ends what asked for longer or for nothing; a shorter one of the task's own counts, and is told as that."""
    async with lab.worker(_executor(max_runtime=1.0)):
        long = await lab.submit("sleep", "60", timeout=50.0)
        none = await lab.submit("sleep", "60")
        own = await lab.submit("sleep", "60", timeout=0.3)
        rule = "ended by this worker's rule max_runtime: 1 s"
        for key, reason in ((long, rule), (none, rule), (own, "ended at its time limit")):
            record = await lab.ended(key)
            assert (record.outcome, record.reason) == (Outcome.TIMEOUT, reason)


async def test_the_worker_s_output_limit(lab: Lab) -> None:
    """A command that writes without end is ended as failed; one that stays below it is left alone."""
    async with lab.worker(_executor(output_limit=100_000)):
        endless, short = await lab.submit("yes"), await lab.submit("echo", "hello")
        record = await lab.ended(endless)
        assert (record.outcome, record.reason) == (
            Outcome.FAILED,
            "ended by this worker's rule output_limit: it wrote too much",
        )
        assert (await lab.ended(short)).outcome is Outcome.SUCCESS


async def test_new_rules_leave_what_runs_alone(lab: Lab) -> None:
    """A worker that comes back with other rules takes up what runs, and refuses what was only claimed."""
    async with lab.worker():
        running = await lab.submit("sh", "-c", f"while [ ! -e {lab.home}/go ]; do sleep 0.1; done")
        await lab.begun(running)
    async with lab.worker(_executor(allow=(LS,))):
        (lab.home / "go").touch()
        assert (await lab.ended(running)).outcome is Outcome.SUCCESS
        (sign,) = await heartbeats(lab.bus)
        assert sign.rules == {"allow": "/usr/bin/ls"}
    claimed = await lab.submit_marked("true", queued=False)
    await lab.change(claimed, Claimed(lab.spool.worker_id, "n", 1, now()))
    async with lab.worker(_executor(allow=(LS,))):
        record = await lab.ended(claimed)
    assert (record.outcome, lab.starts(claimed)) == (Outcome.SUBMIT_FAILED, 0)

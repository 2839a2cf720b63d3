"""Tasks that hang together, as people type it: waiting for others, groups, what a rerun of failed ones takes along."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.integration.stack import Stack

pytestmark = pytest.mark.timeout(180)


def states(stack: Stack, group: str) -> dict[str, str]:
    """How each task of a group stands, by command."""
    tasks = json.loads(stack.ok("ls", f"@{group}", "--json", "--limit", "0"))
    return {task["command"]: task["outcome"] or task["status"] for task in tasks}


def test_after_by_short_ids_and_groups(stack: Stack, tmp_path: Path) -> None:
    """Children start after their parents' ends, which stand in the files that they write; `run` waits all the while."""
    out = tmp_path / "out"
    slow = stack.ok("submit", "sh", "-c", f"sleep 0.5; echo first >> {out}").strip()
    second = stack.ok(
        "submit", "--group", "ab", "--after", slow[-8:], "sh", "-c", f"echo second >> {out}"
    ).strip()
    stack.ok("submit", "--group", "ab", "--after", slow, "true")
    assert stack.ok("run", "--after", "@ab", "cat", str(out)) == "first\nsecond\n"
    record = stack.record(second)
    assert (record["waiting_for"], record["group"]) == (None, "ab")


def test_a_list_is_a_group(stack: Stack, tmp_path: Path) -> None:
    """Its name is told on stderr; it can be waited for, listed, read and cleared under it."""
    tasks = tmp_path / "jobs list.txt"
    tasks.write_text("echo one\necho two\nexit 3\n")
    done = stack.qme("submit", "--file", str(tasks))
    assert done.returncode == 0
    told = [word for word in done.stderr.decode().split() if word.startswith("@")]
    assert len(told) == 1
    assert told[0].startswith("@jobs-list-")
    ids = done.stdout.decode().split()
    waited = stack.qme("wait", told[0])
    assert waited.returncode == 1
    assert [line.split("\t")[:2] for line in waited.stdout.decode().splitlines()] == [
        [ids[0], "success"],
        [ids[1], "success"],
        [ids[2], "failed"],
    ]
    assert stack.ok("logs", told[0]) == "one\ntwo\n"
    assert states(stack, told[0][1:]) == {"echo one": "success", "echo two": "success", "exit 3": "failed"}
    stack.ok("clear", told[0], "--force")
    gone = stack.qme("ls", told[0])
    assert gone.returncode == 3
    assert b"you have no group" in gone.stderr


def test_rerun_of_what_failed_takes_along_what_hung_on_it(stack: Stack, tmp_path: Path) -> None:
    """A task that failed, what was cancelled for it and for that; not what succeeded, nor what somebody cancelled."""
    go, ready, out = tmp_path / "go", tmp_path / "ready", tmp_path / "out"
    group = ("--group", "chain")

    def submit(name: str, *options: str) -> str:
        return stack.ok("submit", *group, *options, "sh", "-c", f"echo {name} >> {out}").strip()

    good = submit("good")
    words = f"until test -e {go}; do sleep 0.05; done; test -e {ready} && echo shaky >> {out}"
    shaky = stack.ok("submit", *group, "sh", "-c", words).strip()
    middle = submit("middle", "--after", f"{good},{shaky}")
    last = submit("last", "--after", middle)
    given_up = submit("given-up", "--after", last)
    stack.ok("cancel", given_up)
    go.touch()
    assert stack.qme("wait", "@chain").returncode == 7
    assert [stack.record(uid)["outcome"] for uid in (good, shaky, middle, last)] == [
        "success",
        "failed",
        "cancelled",
        "cancelled",
    ]
    assert stack.record(middle)["reason"] == f"it waits for the success of {shaky}, which ended as failed"
    ready.touch()
    assert sorted(stack.ok("rerun", "--failed", "@chain").split()) == sorted((shaky, middle, last))
    stack.ok("wait", good, shaky, middle, last)
    assert out.read_text().split() == ["good", "shaky", "middle", "last"]
    assert stack.record(given_up)["attempt"] == 1
    again = stack.qme("rerun", "--failed", "@chain")
    assert (again.returncode, again.stdout) == (0, b"")


def test_a_cancelled_group_starts_nothing_more(stack: Stack, tmp_path: Path) -> None:
    """Not even those who wait for an end, or a failure, of one that is cancelled: those who wait are ended first."""
    out = tmp_path / "out"
    # They take all slots, so that the first of the group ends as soon as it is cancelled.
    others = [stack.ok("submit", "sleep", "60").strip() for _ in range(2)]
    try:
        first = stack.ok("submit", "--group", "off", "true").strip()
        waiting = [
            stack.ok("submit", "--group", "off", how, first, "touch", str(out)).strip()
            for how in ("--after", "--after-any", "--after-fail")
        ]
        stack.ok("cancel", "@off")
    finally:
        stack.ok("cancel", *others)
    ends = [stack.record(uid)["finished"] for uid in (*waiting, first)]
    assert set(states(stack, "off").values()) == {"cancelled"}
    assert max(ends[:-1]) <= ends[-1]
    assert not out.exists()


def test_what_can_not_be_waited_for_is_refused(stack: Stack) -> None:
    """An id that no task has, a group without tasks, one task in two ways: exit codes 3, 3 and 2."""
    uid = stack.ok("submit", "true").strip()
    nobody = "01990000-0000-7000-8000-000000000000"
    assert stack.qme("submit", "--after", nobody, "true").returncode == 3
    assert stack.qme("submit", "--after", "@nobody", "true").returncode == 3
    assert stack.qme("submit", "--after", uid, "--after-any", uid, "true").returncode == 2
    assert stack.qme("submit", "--group", "no group", "true").returncode == 2


def test_retries_as_they_are_typed(stack: Stack, tmp_path: Path) -> None:
    """Attempts are kept; what waits for the task sees its last end only."""
    count = tmp_path / "n"
    words = ("sh", "-c", f"echo x >> {count}; test $(wc -l < {count}) -ge 3")
    uid = stack.ok("submit", "--retries", "3", "--retry-delay", "0.1", "--retry-backoff", "1", *words).strip()
    alarm = stack.ok("submit", "--after-fail", uid, "true").strip()
    assert stack.ok("run", "--after", uid, "cat", str(count)) == "x\nx\nx\n"
    record = stack.record(uid)
    assert [past["outcome"] for past in record["attempts"]] == ["failed", "failed"]
    assert (record["attempt"], record["outcome"]) == (3, "success")
    assert stack.qme("wait", alarm).returncode == 125


WORKFLOW = """\
[tasks.prepare]
command = "echo prepared >> order"

[tasks.work]
command = "test {n} -ne 2 -o -e ready && echo work {n} >> order"
after = "prepare"
matrix = { n = [1, 2] }

[tasks.report]
command = "echo report >> order"
after = "work"

[tasks.alarm]
command = "echo alarm >> order"
after-fail = "report"
"""


def test_a_workflow_goes_on_where_it_stopped(stack: Stack, tmp_path: Path) -> None:
    """Submitted again, only what has not succeeded runs; then nothing; changed text runs with all that waits for it."""
    flow, order = tmp_path / "demo.toml", tmp_path / "order"
    flow.write_text(WORKFLOW)
    assert stack.qme("submit", "--workflow", str(flow), "--wait").returncode == 7
    assert sorted(order.read_text().splitlines()) == ["alarm", "prepared", "work 1"]
    (tmp_path / "ready").touch()
    again = stack.qme("submit", "--workflow", str(flow), "--wait")
    assert (again.returncode, again.stderr) == (0, b"qme: group @demo: 2 again, 3 kept\n")
    assert sorted(order.read_text().splitlines()) == ["alarm", "prepared", "report", "work 1", "work 2"]
    kept = stack.qme("submit", "--workflow", str(flow))
    assert kept.stderr == b"qme: group @demo: 5 kept\n"
    flow.write_text(WORKFLOW.replace("echo report", "echo new report"))
    changed = stack.qme("submit", "--workflow", str(flow), "--wait")
    assert (changed.returncode, changed.stderr) == (0, b"qme: group @demo: 2 new, 3 kept\n")
    assert order.read_text().splitlines()[-1] == "new report"
    assert len(stack.lines("ls", "@demo")) == 7  # of the replaced ones, too
    assert stack.qme("wait", "@demo").returncode == 0
    stack.ok("clear", "@demo", "--force")
    order.unlink()
    anew = stack.qme("submit", "--workflow", str(flow), "--wait")
    assert (anew.returncode, anew.stderr) == (0, b"qme: group @demo: 5 new\n")
    assert sorted(order.read_text().splitlines()) == ["new report", "prepared", "work 1", "work 2"]


def test_another_file_of_the_same_name_ends_nothing(stack: Stack, tmp_path: Path) -> None:
    """Two projects may have a `flow.toml` each; while tasks of one are on their way, the other is refused."""
    files = [tmp_path / name / "flow.toml" for name in ("one", "two")]
    for path in files:
        path.parent.mkdir()
        path.write_text("[tasks.work]\ncommand = 'sleep 60'\n")
    uid = stack.ok("submit", "--workflow", str(files[0])).strip()
    refused = stack.qme("submit", "--workflow", str(files[1]))
    assert refused.returncode == 2
    assert f"is of {files[0]}" in refused.stderr.decode()
    assert stack.record(uid)["outcome"] is None
    stack.ok("cancel", "@flow")
    stack.qme("wait", "@flow")
    stack.ok("submit", "--workflow", str(files[1]))
    stack.ok("cancel", "@flow")


def test_a_workflows_mistakes_are_told_by_line(stack: Stack, tmp_path: Path) -> None:
    """All at once, exit code 2; nothing is submitted."""
    flow = tmp_path / "bad.toml"
    flow.write_text("[tasks.a]\ncomand = 'x'\nretries = 'x'\n")
    refused = stack.qme("submit", "--workflow", str(flow))
    assert refused.returncode == 2
    assert [line.split(":")[2] for line in refused.stderr.decode().splitlines()] == ["1", "2", "3"]
    flow.write_text("[tasks.a]\ncommand = 'x'\n[tasks.b]\ncommand = 'y'\nafter = 'a'\n")
    assert stack.ok("workflow", "check", str(flow)) == "bad: 2 tasks, at most 2 one after the other\n"
    assert stack.ok("workflow", "show", str(flow)) == "a\n└─ b\n"

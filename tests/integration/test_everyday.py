"""What people do every day, typed as they type it; among it the habits of the original program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.integration.stack import Stack


def test_the_main_job(stack: Stack) -> None:
    """`qme run echo hello moto` prints exactly that."""
    done = stack.qme("run", "echo", "hello", "moto")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello moto\n", b"")


def test_get_gives_the_last_task_in_the_originals_form(stack: Stack) -> None:
    """The keys executor, uid, command, data keep their place, and data the names it always had."""
    stack.ok("run", "-m", "a note", "echo", "hello", "moto")
    task = json.loads(stack.ok("get"))
    assert task["executor"] == "shell"
    assert task["command"] == "echo hello moto"
    assert task["message"] == "a note"
    data = task["data"]
    assert data["output"] == ["hello moto\n"]
    assert data["error"] == []
    assert data["returncode"] == 0
    assert data["cmd"] == ["echo", "hello", "moto"]
    assert {"pwd", "user", "timestamp", "status", "pid", "maxrss_kb", "utime", "stime"} <= set(data)


def test_exec_has_its_three_forms(stack: Stack) -> None:
    """Actions of an executor; an action on the last task; an action on a given one."""
    first = stack.ok("submit", "--wait", "echo", "first").strip()
    stack.ok("submit", "--wait", "sh", "-c", "echo second; echo oops >&2")
    names = stack.ok("exec", "shell")
    assert all(name in names for name in ("status", "output", "error", "outputs", "cancel"))
    assert stack.ok("exec", "output") == "second\n"
    assert stack.ok("exec", "error") == "oops\n"
    assert stack.ok("exec", first, "output") == "first\n"
    both = json.loads(stack.ok("exec", "outputs"))
    assert both == {"output": ["second\n"], "error": ["oops\n"]}


def test_ls_finds_by_executor_status_label(stack: Stack) -> None:
    """Filters narrow; JSON is one array, newest first."""
    good = stack.ok("submit", "--wait", "--label", "sample=7", "true").strip()
    bad = stack.qme("submit", "--wait", "--label", "sample=7", "false")
    assert bad.returncode == 1
    listed = json.loads(stack.ok("ls", "shell", "--label", "sample=7", "--json"))
    assert [task["data"]["returncode"] for task in listed] == [1, 0]
    assert listed[1]["uid"] == good
    assert "output" not in listed[0]["data"]
    failed = stack.lines("ls", "--status", "complete", "--label", "sample=7", "--limit", "1")
    assert bad.stdout.decode().strip()[-8:] in failed[-1]


def test_ids_may_be_shortened(stack: Stack) -> None:
    """The last four hexadecimal digits, eight as tables show them, or all."""
    uid = stack.ok("submit", "--wait", "echo", "short").strip()
    for short in (uid[-8:], uid[-12:], uid, uid[-36:]):
        assert stack.ok("logs", short) == "short\n"


def test_rerun_keeps_the_id(stack: Stack, tmp_path: Path) -> None:
    """A second attempt under the same id; the first one's output can still be read."""
    uid = (
        stack.qme("submit", "--wait", "sh", "-c", f"echo try >> {tmp_path}/n; wc -l < {tmp_path}/n")
        .stdout.decode()
        .strip()
    )
    assert stack.ok("rerun", uid).strip() == uid
    stack.ok("wait", uid)
    task = stack.record(uid)
    assert task["attempt"] == 2
    assert [past["outcome"] for past in task["attempts"]] == ["success"]
    assert stack.ok("logs", uid) == "2\n"
    assert stack.ok("logs", uid, "--attempt", "1") == "1\n"


def test_cancel_ends_the_whole_tree(stack: Stack) -> None:
    """A cancelled command leaves no process behind; `run` of it gives the signal's code."""
    with stack.start("run", "sh", "-c", "sleep 1000 & echo $!; wait") as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        uid = json.loads(stack.ok("get"))["uid"]
        stack.ok("cancel", uid)
        assert process.wait(timeout=15) == 143
    assert not Path(f"/proc/{child}").exists()
    assert stack.record(uid)["status"] == "cancelled"
    assert stack.qme("cancel", uid).returncode == 0


def test_timeout(stack: Stack) -> None:
    """124, and the outcome says timeout."""
    done = stack.qme("submit", "--wait", "--timeout", "0.5", "sleep", "100")
    assert done.returncode == 124
    assert stack.record(done.stdout.decode().strip())["outcome"] == "timeout"


def test_retries(stack: Stack, tmp_path: Path) -> None:
    """A task that fails at first and then does not is one success, with its past."""
    script = f"echo x >> {tmp_path}/tries; test $(wc -l < {tmp_path}/tries) -ge 2"
    uid = stack.ok("submit", "--wait", "--retries", "2", "--retry-delay", "0.1", "sh", "-c", script).strip()
    task = stack.record(uid)
    assert (task["outcome"], task["attempt"]) == ("success", 2)


def test_a_list_with_a_key_is_submitted_once(stack: Stack) -> None:
    """The same list again, with a line more, gives the ids there are and makes one task more; equal lines are two."""
    first = stack.lines("submit", "--key", "night", "--file", "-", stdin="true\nfalse\ntrue\n")
    again = stack.lines("submit", "--key", "night", "--file", "-", stdin="echo more\ntrue\nfalse\ntrue\n")
    assert len(set(first)) == 3
    assert again[1:] == first
    assert again[0] not in first


def test_a_bulk_file_gives_one_id_a_line(stack: Stack) -> None:
    """In the order of the file; blank lines are none."""
    ids = stack.lines("submit", "--file", "-", stdin="echo one\n\necho two | tr a-z A-Z\n")
    assert len(ids) == 2
    stack.ok("wait", *ids)
    assert [stack.ok("logs", uid) for uid in ids] == ["one\n", "TWO\n"]


def test_the_same_key_is_the_same_task(stack: Stack) -> None:
    """Submitted again under its key, a command is not run again."""
    first = stack.ok("submit", "--key", "nightly", "echo", "once").strip()
    assert stack.ok("submit", "--key", "nightly", "echo", "once").strip() == first


def test_files_and_standard_input_travel(stack: Stack, tmp_path: Path) -> None:
    """Sent files lie in the task's own folder; --stdin is what it reads."""
    (tmp_path / "note.txt").write_text("from afar\n")
    words = ("--send", "note.txt", "--stdin", "-", "sh", "-c", "cat note.txt -; pwd")
    done = stack.qme("submit", "--wait", *words, cwd=tmp_path, stdin="typed\n")
    assert done.returncode == 0, done.stderr
    printed = stack.ok("logs", done.stdout.decode().strip())
    assert printed.startswith("from afar\ntyped\n")


def test_the_environment_is_clean(stack: Stack) -> None:
    """Nothing of qme's own settings reaches a task but its id; --env does."""
    out = stack.ok("submit", "--wait", "--env", "COLOUR=blue", "env").strip()
    lines = stack.ok("logs", out).splitlines()
    assert "COLOUR=blue" in lines
    assert [line.split("=")[0] for line in lines if line.startswith(("QME_", "NATS_"))] in (
        ["QME_TASK_ID"],
        ["QME_TASK_ID", "QME_UID"],
        ["QME_UID", "QME_TASK_ID"],
    )


def test_search_and_match_and_config(stack: Stack) -> None:
    """A regular expression over commands and output; where a command would go and why; settings with their origin."""
    uid = stack.ok("submit", "--wait", "echo", "needle-in-haystack-42").strip()
    assert uid[-8:] in stack.ok("search", "needle-in-[a-z]+-42")
    assert "shell" in stack.ok("match", "echo", "hello")
    stack.ok("config", "--set", "shell", "slots", "3")
    assert "slots" in stack.ok("config", "show")
    assert str(stack.home) in stack.ok("config", "path")


def test_clear(stack: Stack) -> None:
    """A cleared task is gone, its output too."""
    uid = stack.ok("submit", "--wait", "echo", "gone").strip()
    stack.ok("clear", uid, "--force")
    assert stack.qme("get", uid).returncode == 3
    assert stack.qme("logs", uid).returncode == 3


def test_the_originals_python_face(stack: Stack) -> None:
    """`from qme import Queue` and its verbs, as scripts written for the original use them."""
    script = """
from qme import Queue
q = Queue()
task = q.run("echo hello queue", message="from python")
assert task.executor.name == "shell", task.executor.name
assert task.command == "echo hello queue"
assert task.taskid.startswith("shell-")
assert q.get(task.taskid).load()["data"]["output"] == ["hello queue\\n"]
assert q.get().taskid == task.taskid
assert task.export()["returncode"] == 0
assert "echo hello queue" in task.summary()
assert task.run_action("output") in ("hello queue\\n", ["hello queue\\n"])
assert task.taskid in [t.taskid for t in q.list("shell")]
assert task.taskid in [t.taskid for t in q.search("hello q[u]eue")]
again = q.rerun(task.taskid)
assert again.taskid == task.taskid
q.clear(task.taskid, noprompt=True)
print("fine")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=stack.env, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b"fine\n"


def test_events_tell_the_story(stack: Stack) -> None:
    """Every change of a task, and who made it."""
    uid = stack.ok("submit", "--wait", "true").strip()
    story = stack.ok("events", uid)
    assert story.index("queued") < story.index("running") < story.index("success")


def test_run_leaves_options_to_the_program(stack: Stack) -> None:
    """`qme run prog --help` reaches prog."""
    assert b"sort" in stack.qme("run", "sort", "--help").stdout


def test_output_into_a_closed_pipe(stack: Stack) -> None:
    """`qme ls | head -1` ends quietly."""
    line = f"{' '.join(stack.command('run', 'seq', '100000'))} | head -1"
    done = subprocess.run(["sh", "-c", line], env=stack.env, capture_output=True, timeout=60, check=False)
    assert done.stdout == b"1\n"
    assert b"Traceback" not in done.stderr


def test_an_id_that_cannot_be_printed_is_said(stack: Stack) -> None:
    """The task was accepted; whoever does not learn that submits it again."""
    line = f"{' '.join(stack.command('submit', 'echo', 'kept'))} > /dev/full"
    done = subprocess.run(["sh", "-c", line], env=stack.env, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    said = done.stderr.decode().split()
    uid = said[said.index("as") + 1].rstrip(",")
    assert stack.qme("wait", uid).returncode == 0
    assert stack.ok("logs", uid) == "kept\n"

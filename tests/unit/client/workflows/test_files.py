"""Workflow files: what they make, how it is drawn, and in which line each mistake is said to stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from qme.client.submission import Options
from qme.client.workflows import Flaws, Workflow, mermaid, prepared, read, tree
from qme.contracts.tasks import On, Outcome, RetryPolicy
from qme.errors import InvalidRequest

FLOW = """\
name = "demo"

[defaults]
timeout = "5m"
retries = 2
retry-on = "failed,lost"
env = { LANG = "C", N = 1 }

[tasks.configure]
command = ["./configure", "--fast"]
retries = 0

[tasks.build]
command = "make CC={cc} OUT=${OUT} O={opt}"
after = "configure"
matrix = { cc = ["gcc", "clang"], opt = [0, 2] }
exclude = [{ cc = "clang", opt = 2 }]
env = { MODE = "{cc}" }

[tasks.test]
command = "./test-{cc}"
after = ["build[{cc},0]"]
after-any = ["build[gcc,2]"]
matrix = { cc = ["gcc", "clang"] }

[tasks.alarm]
command = "echo alarm"
after-fail = "test"
cpus = 2
priority = 5
mem = "1GiB"
"""


def written(folder: Path, text: str, name: str = "flow.toml") -> Path:
    """A file of this text."""
    path = folder / name
    path.write_text(text)
    return path


def flow(folder: Path) -> Workflow:
    """The workflow above."""
    return read(written(folder, FLOW))


def test_a_matrix_is_multiplied_out_and_parents_found(tmp_path: Path) -> None:
    """Values stand in names and commands; a name without brackets is all tasks that its matrix makes."""
    made = flow(tmp_path)
    assert {task.name: (task.command, dict(task.after)) for task in made.tasks} == {
        "configure": (("./configure", "--fast"), {}),
        "build[gcc,0]": ("make CC=gcc OUT=${OUT} O=0", {"configure": On.SUCCESS}),
        "build[gcc,2]": ("make CC=gcc OUT=${OUT} O=2", {"configure": On.SUCCESS}),
        "build[clang,0]": ("make CC=clang OUT=${OUT} O=0", {"configure": On.SUCCESS}),
        "test[gcc]": ("./test-gcc", {"build[gcc,0]": On.SUCCESS, "build[gcc,2]": On.ANY}),
        "test[clang]": ("./test-clang", {"build[clang,0]": On.SUCCESS, "build[gcc,2]": On.ANY}),
        "alarm": ("echo alarm", {"test[gcc]": On.FAIL, "test[clang]": On.FAIL}),
    }
    assert (made.name, made.path) == ("demo", tmp_path / "flow.toml")


def test_defaults_and_the_tasks_own_words(tmp_path: Path) -> None:
    """A task's own words win; variables of both are set; the folder is the file's, if the worker has it."""
    tasks = {task.name: task for task, _ in prepared(flow(tmp_path), Options(), host="h")}
    build, configure, alarm = tasks["build[gcc,2]"], tasks["configure"], tasks["alarm"]
    policy = RetryPolicy(limit=2, on=(Outcome.FAILED, Outcome.LOST))
    assert (build.timeout, build.retry, build.env) == (300.0, policy, {"LANG": "C", "N": "1", "MODE": "gcc"})
    assert (build.group, build.cwd, build.cwd_given, build.shell) == ("demo", str(tmp_path), False, True)
    assert (configure.retry.limit, configure.argv, configure.shell) == (0, ("./configure", "--fast"), False)
    assert alarm.resources is not None
    assert (alarm.resources.cpus, alarm.resources.mem, alarm.priority) == (2, 1 << 30, 5)


def test_yaml_says_the_same(tmp_path: Path) -> None:
    """The form is the same; only the spelling differs."""
    path = written(
        tmp_path,
        "name: demo\ntasks:\n  a: {command: 'true'}\n  b:\n    command: [echo, hi]\n    after-any: a\n",
        "flow.yml",
    )
    made = read(path)
    assert [(task.name, task.command, dict(task.after)) for task in made.tasks] == [
        ("a", "true", {}),
        ("b", ("echo", "hi"), {"a": On.ANY}),
    ]


def test_the_drawings(tmp_path: Path) -> None:
    """What has several parents stands below the last and is named at the others; a matrix is one node, or all."""
    made = flow(tmp_path)
    assert tree(made) == ("configure\n└─ build (x3)\n   └─ test (x2)\n      └─ alarm (after failure)")
    assert tree(made, whole=True) == (
        "configure\n"
        "├─ build[gcc,0]\n"
        "│  └─ test[gcc] …\n"
        "├─ build[gcc,2]\n"
        "│  ├─ test[gcc] (after any end)\n"
        "│  │  └─ alarm (after failure) …\n"
        "│  └─ test[clang] (after any end)\n"
        "│     └─ alarm (after failure)\n"
        "└─ build[clang,0]\n"
        "   └─ test[clang] …"
    )
    assert mermaid(made) == (
        'flowchart TD\n    t0["configure"]\n    t1["build (x3)"]\n    t2["test (x2)"]\n    t3["alarm"]\n'
        "    t0 --> t1\n    t1 --> t2\n    t2 -. failure .-> t3"
    )


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        (
            "f.toml",
            "[tasks.a]\ncommand = 'x'\ntimout = 3\n",
            "f.toml:3: tasks.a.timout: no such key; did you mean timeout?",
        ),
        ("f.toml", "[tasks.a]\nafter = 'b'\n", "f.toml:1: tasks.a.command: is missing"),
        (
            "f.toml",
            "[tasks.a]\n\n# x\ncommand = 'x'\nretries = 'many'\n",
            "f.toml:5: tasks.a.retries: should be a valid integer",
        ),
        (
            "f.toml",
            "[tasks.a]\ncommand = '''\n[tasks.b]\nretries = 1\n'''\nretries = -1\n",
            "f.toml:6: tasks.a.retries: should be greater than or equal to 0",
        ),
        (
            "f.toml",
            "[tasks.a]\ncommand = 'x'\nafter = ['b']\n",
            "f.toml:3: tasks.a.after: there is no task 'b'",
        ),
        (
            "f.toml",
            "[tasks.a]\ncommand = 'x'\nafter = 'b'\n[tasks.b]\ncommand = 'x'\nafter = 'a'\n",
            "f.toml:3: tasks.a.after: waits for itself: a -> b -> a",
        ),
        (
            "f.toml",
            "[tasks.a]\ncommand = 'x'\nmatrix = { n = [1, 1] }\n",
            "f.toml:3: tasks.a.matrix: makes a[1] twice",
        ),
        (
            "f.toml",
            "[tasks.'a b']\ncommand = 'x'\n",
            "f.toml:1: tasks.a b: can't be a name: letters, digits and _ . -",
        ),
        (
            "f.toml",
            "[tasks.a]\ncommand = 'x'\nretry-on = 'bad'\n",
            "f.toml:3: tasks.a.retry-on: 'bad' can't be retried",
        ),
        (
            "f.toml",
            "[tasks.a\n",
            "f.toml: Expected ']' at the end of a table declaration (at line 1, column 9)",
        ),
        ("f.toml", "name = 'x'\n", "f.toml:1: tasks: is missing"),
        (
            "f.yaml",
            "tasks:\n  a:\n    command: x\n    mem: lots\n",
            "f.yaml:4: tasks.a.mem: 'lots' is not a size",
        ),
        (
            "f.yaml",
            "tasks:\n  a: {command: x}\n  a: {command: y}\n",
            "f.yaml:3: a: stands here a second time",
        ),
        ("f.yaml", "tasks:\n  a: [\n", "f.yaml:3: "),
        (
            "f.yaml",
            "tasks:\n  a:\n    command: x\n    after: [a]\n",
            "f.yaml:4: tasks.a.after: waits for itself: a -> a",
        ),
        ("f.txt", "x", "f.txt: a workflow's file ends in .toml, .yaml or .yml"),
    ],
)
def test_each_mistake_is_said_with_line_and_key(tmp_path: Path, name: str, text: str, wanted: str) -> None:
    """File, line, key, and what is wrong or what there is instead."""
    with pytest.raises(InvalidRequest) as refused:
        read(written(tmp_path, text, name))
    assert str(refused.value).removeprefix(f"{tmp_path}/").startswith(wanted)


def test_several_mistakes_are_said_at_once(tmp_path: Path) -> None:
    """One line for each."""
    with pytest.raises(Flaws) as refused:
        read(written(tmp_path, "[tasks.a]\nx = 1\n[tasks.b]\ncommand = 1\n"))
    assert [line.split(":")[1] for line in refused.value.lines] == ["1", "2", "4", "4"]

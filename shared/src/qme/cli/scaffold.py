"""The package that `qme executor new` writes: texts, and where they go. That they work as they stand, its tests say."""

from __future__ import annotations

from pathlib import Path
from string import Template

from qme.contracts.subjects import executor_name
from qme.errors import InvalidRequest

_PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "qme-executor-$dashed"
version = "0.1.0"
description = "A qme executor for $name"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["qme-core"]

[project.optional-dependencies]
test = ["pytest", "pytest-timeout"]

[project.entry-points."qme.executors"]
$name = "qme_executor_$name:${title}Executor"

[tool.hatch.build.targets.wheel]
packages = ["qme_executor_$name"]
"""

_EXECUTOR = '''\
"""The $name executor: runs commands that begin with `$name`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qme.executor import Executor, ExecutorSettings, Held, Result, Task, action, option, plain_words
from qme.settings import TEXT


@dataclass(frozen=True, kw_only=True)
class ${title}Settings(ExecutorSettings):
    """Its settings: section [executor.$name] of the config file, or QME_${upper}_<KEY>."""

    program: str = option("echo", TEXT, "the program that is run")


class ${title}Executor(Executor[${title}Settings]):
    """Takes commands whose first word is `$name`, and runs the program of its settings with the other words."""

    name = "$name"
    matchstring = r"^$name(\\s|$$)"
    version = "0.1.0"
    #: what it exports that is worth a column; dashboards show it without knowing this package
    fields = ("program", "words")
    settings_type = ${title}Settings

    async def execute(self, task: Task) -> Result:
        """Run the attempt. May be called again after a restart: `task.run` then finds what it began."""
        _, *words = plain_words(task.spec)
        await task.update(program=self.settings.program, words=len(words))
        cwd = Path(task.spec.cwd) if task.spec.cwd and Path(task.spec.cwd).is_dir() else None
        ended = await task.run(
            [self.settings.program, *words], cwd=cwd, env=task.spec.env, timeout=task.spec.timeout
        )
        return Result(ended.returncode, reason=ended.error)

    @action()
    async def count(self, held: Held) -> Any:
        """Count the words that the program was given."""
        return held.record.data.get("words")
'''

_TESTS = '''\
"""What every executor is asked, and what is special to this one."""

from __future__ import annotations

from pathlib import Path

from qme.testing.suite import ExecutorSuite
from qme_executor_$name import ${title}Executor, ${title}Settings


class Test$title(ExecutorSuite):
    """With `env` for its program, any command can be tried."""

    executor = ${title}Executor
    settings = ${title}Settings(program="env")
    succeed = ("$name true", "$name echo hello")
    fail = ("$name false", "$name no-such-program")
    stay = ("$name sleep 600",)
    leaves = ("echo $name", "${name}s")
    readme = Path(__file__).parents[1] / "README.md"
'''

_README = """\
# qme-executor-$dashed

A qme executor. What it does now is an example; make it yours in `qme_executor_$name/__init__.py`.

    pip install -e '.[test]'
    pytest                              # what every executor is asked, and your own tests
    qme executor check $name --succeeds '$name hello'
    qme worker $name                    # stays in its terminal; in another one:
    qme run $name hello

## Matches

Commands whose first word is `$name`. `qme match $name hello` explains.

## Usage

    qme run $name hello moto

It exports `program` and `words` (how many there were).

## Settings

Section `[executor.$name]` of the config file, or `QME_${upper}_<KEY>`.

| setting | default | meaning |
|---|---|---|
| `program` | echo | the program that is run |

## Actions

Those of every executor (`status`, `output`, `error`, `outputs`, `cancel`), and:

| action | what it does |
|---|---|
| `count` | counts the words that the program was given |
"""


def write(name: str, below: Path) -> Path:
    """Write the package of an executor and give its folder. Raises InvalidRequest where there is one, OSError."""
    name = executor_name(name)
    folder = below / f"qme-executor-{name.replace('_', '-')}"
    if folder.exists():
        raise InvalidRequest(f"{folder} is there already; nothing was written")
    words = {
        "name": name,
        "upper": name.upper(),
        "dashed": name.replace("_", "-"),
        "title": "".join(part.capitalize() for part in name.split("_")),
    }
    for path, text in {
        "pyproject.toml": _PYPROJECT,
        "README.md": _README,
        f"qme_executor_{name}/__init__.py": _EXECUTOR,
        f"qme_executor_{name}/py.typed": "",
        f"tests/test_{name}.py": _TESTS,
    }.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(Template(text).substitute(words))
    return folder

"""What the documentation site has beside the pages in docs/: reference from the code, pages of the root, the menu.

A hook of mkdocs (mkdocs.yml). Writes no file into docs/; what it generates can't fall behind the code.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from qme import errors
from qme.bus import topology
from qme.cli.parsing import Parser
from qme.cli.verbs import VERBS
from qme.contracts import subjects, tasks
from qme.contracts.subjects import TaskKey
from qme.executor import registry
from qme.settings import Settings, options

ROOT = Path(__file__).parents[1]
#: pages that stand in the root of the repository, and where the site has them
OF_ROOT = {
    "ARCHITECTURE.md": "project/architecture.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
}
#: the menu: its sections, and the pages that come first in them; the rest of a folder follows by itself
MENU: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Start": (("index.md", "quickstart.md", "tutorial.md"), ()),
    "How to": ((), ("", "executors")),
    "Running a site": (("deploy/index.md", "deploy/quickstart.md"), ("deploy",)),
    "Explanation": (("guarantees.md", "comparison.md", "performance.md"), ("explanation",)),
    "Reference": ((), ("reference",)),
    "Project": (tuple(OF_ROOT.values()), ("project",)),
    "Decisions": ((), ("decisions",)),
}
#: what stands after a block's language says where it is run or written: for the tests that do so
PLACED = re.compile(r"^(```\w+) .*$", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is generated, then make the menu of all there is."""
    for path, text in _generated():
        files.append(File.generated(config, path, content=text))
    config.nav = _menu([file.src_uri for file in files.documentation_pages()])
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to pages of the site; what the site does not have keeps its words only."""
    here = next((name for name, path in OF_ROOT.items() if path == page.file.src_uri), None)
    folder = Path() if here else Path("docs", page.file.src_uri).parent

    def lead(match: re.Match[str]) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        path = os.path.normpath(folder / target)
        found = OF_ROOT.get(path) or path.removeprefix("docs/")
        if files.get_file_from_path(found) is None:
            return f"{words} (`{path}`)" if path not in words else words
        return f"[{words}]({os.path.relpath(found, Path(page.file.src_uri).parent)}{anchor})"

    return PLACED.sub(r"\1", LINK.sub(lead, markdown))


def _menu(pages: list[str]) -> list[Any]:
    left = dict.fromkeys(sorted(pages))
    first = {page for known, _ in MENU.values() for page in known}
    menu = []
    for section, (known, folders) in MENU.items():
        rest = [page for page in left if page not in first and page.rpartition("/")[0] in folders]
        menu.append({section: [page for page in [*known, *rest] if page in left]})
    return [section for section in menu if all(section.values())]


def _generated() -> Iterator[tuple[str, str]]:
    yield "reference/commands.md", _commands()
    yield "reference/settings.md", _settings()
    yield "reference/record.md", _record()
    yield "reference/bus.md", _bus()
    yield "reference/errors.md", _errors()
    for name, path in OF_ROOT.items():
        yield path, (ROOT / name).read_text()


def _commands() -> str:
    parts = [
        "# Commands\n\nWhat `qme VERB --help` prints. Settings may stand before the verb: `qme --nats-url URL ls`.\n"
    ]
    for name, entry in VERBS.items():
        parser = Parser(f"qme {name}", entry.summary)
        importlib.import_module(f"qme.cli.{entry.module}").VERBS[name].arguments(parser)
        parts.append(f"## qme {name}\n\n```text\n{parser.format_help().strip()}\n```\n")
    return "\n".join(parts)


def _settings() -> str:
    parts = [
        "# Settings\n\nA flag before the verb wins over the environment, that over `config` in `QME_HOME`, that over"
        " `/etc/qme/config`, that over the default; `qme config show` says where each value comes from.\n",
        "## General\n\nSection `[qme]`.\n",
        _table(Settings, "QME"),
    ]
    for name in registry.names():
        kind = registry.load(name).settings_type
        parts += [f"## {name}\n\nSection `[executor.{name}]`.\n", _table(kind, f"QME_{name.upper()}")]
    return "\n".join(parts)


def _table(kind: Any, prefix: str) -> str:
    rows = ["| setting | environment | default | meaning; what it may be |", "|---|---|---|---|"]
    defaults = {field.name: field.default for field in fields(kind)}  # what the machine decides has none
    for key, known in options(kind).items():
        default = defaults[key]
        plain = isinstance(default, (str, int, float, tuple)) and default != ()
        shown = f"`{known.kind.show(default)}`" if plain else ""
        rows.append(
            f"| `{key}` | `{prefix}_{key.upper()}` | {shown} | {_cell(known.summary)}; {_cell(known.kind.allowed)} |"
        )
    return "\n".join(rows) + "\n"


def _record() -> str:
    parts = [
        "# The record\n\nWhat `qme get` prints, and what the bus holds of a task. Unknown keys are kept.\n"
    ]
    for model in (tasks.TaskRecord, tasks.Claim, tasks.CancelRequest, tasks.RetryPolicy, tasks.Attempt):
        notes = dict(_notes(model))
        parts.append(
            f"## {model.__name__}\n\n{inspect.getdoc(model)}\n\n| key | type | default | meaning |\n|---|---|---|---|"
        )
        for name, field in model.model_fields.items():
            key = field.serialization_alias or name
            default = "" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"
            kind = str(model.__annotations__.get(name, "")).replace("|", "\\|")
            parts.append(f"| `{key}` | `{kind}` | {_cell(default)} | {_cell(notes.get(name, ''))} |")
        parts.append("")
    for kind in (tasks.Status, tasks.Outcome):
        notes = dict(_notes(kind))
        parts.append(f"## {kind.__name__}\n\n{inspect.getdoc(kind)}\n")
        parts += [f"- `{one.value}` {notes.get(one.name, '')}".rstrip() for one in kind] + [""]
    return "\n".join(parts)


def _notes(kind: type) -> Iterator[tuple[str, str]]:
    """Give the comments that begin with ``#:``, beside a field or above it."""
    above: list[str] = []
    for line in inspect.getsource(kind).splitlines():
        text = line.strip()
        field = re.match(r"(\w+)\s*[:=]", text)
        if text.startswith("#:"):
            above.append(text[2:].strip())
        elif field:
            beside = text.partition("#:")[2].strip()
            yield field[1], " ".join([*above, beside]).strip()
            above = []


def _bus() -> str:
    key = TaskKey("<executor>", "<pool>", "<uuid>")
    spelled = {
        "a request of a user's": subjects.api_subject("<user>", "<verb>"),
        "the same of an operator's": subjects.api_subject("<user>", "<verb>", admin=True),
        "the queue message of a task": subjects.queue_subject(key),
        "an action of a worker's": subjects.action_subject("<user>", "<executor>", "<pool>", "<worker>"),
        "output": subjects.log_subject(key, 1, "stdout").replace(".1.", ".<attempt>."),
        "a change of a record, republished": subjects.change_subject(str(key)),
        "a task's record": subjects.bucket_subject(subjects.BUCKET_TASKS, str(key)),
    }
    rows = [f"| {what} | `{subject}` |" for what, subject in spelled.items()]
    streams = [
        f"| `{one.name}` | {', '.join(f'`{name}`' for name in one.subjects)} | {one.retention} | {one.discard} |"
        for one in topology.streams(Settings())
    ]
    return "\n".join(
        [
            "# The bus\n\nUsers, pools and hosts stand in subjects as tokens: themselves where they are lower-case"
            " letters, digits, `_` and `-`, else `=` and base32.\n",
            "## Subjects\n\n| what | subject |\n|---|---|",
            *rows,
            "\n## Streams and buckets\n\n| stream | subjects | kept | gives way |\n|---|---|---|---|",
            *streams,
            "",
        ]
    )


def _errors() -> str:
    rows = [
        f"| {kind.exit_code} | `{kind.__name__}` | {_cell(' '.join((inspect.getdoc(kind) or '').split()))} |"
        for kind in sorted(_tree(errors.QmeError), key=lambda kind: kind.exit_code)
    ]
    return (
        "# Exit codes and errors\n\nAll verbs but `run`, `wait` and `submit --wait` of one task, which end as the"
        " command did (their own failures are 125).\n\n| exit code | error | what to do |\n|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def _tree(kind: type[errors.QmeError]) -> Iterator[type[errors.QmeError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

"""`qme workflow`: look at a workflow's file without submitting it; `qme submit --workflow` does that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qme.cli.context import Context, say
from qme.cli.parsing import Arguments, Parser
from qme.cli.verbs import Verb
from qme.client.submission import Options
from qme.errors import InvalidRequest

if TYPE_CHECKING:
    from qme.client.workflows import Workflow


def arguments(parser: Parser) -> None:
    """What to do with which file."""
    parser.lay_out("""
        qme workflow check FILE    find mistakes, and count what it makes
        qme workflow show FILE     draw what waits for what
    """)
    parser.add_argument("what", choices=("check", "show"), help="check or show")
    parser.add_argument("file", metavar="FILE", help="a .toml or .yaml file; see docs/workflows.md")
    parser.add_argument("--mermaid", action="store_true", help="draw a Mermaid flowchart")
    parser.add_argument("--all", action="store_true", help="draw each task that a matrix makes")


def workflow(args: Arguments, context: Context) -> int:
    """Read the file; what is wrong with it is said with line and key."""
    from qme.client.workflows import mermaid, prepared, tree

    flow = read(args.file)
    if args.what == "show":
        print(mermaid(flow, whole=args.all) if args.mermaid else tree(flow, whole=args.all))
        return 0
    prepared(flow, Options(), host=context.settings.host)
    print(summary(flow))
    return 0


def read(name: str) -> Workflow:
    """Read a file; of several mistakes each is said. Raises InvalidRequest."""
    from qme.client import workflows

    try:
        return workflows.read(Path(name))
    except workflows.Flaws as flaws:
        *others, last = flaws.lines
        for line in others:
            say(line)
        raise InvalidRequest(last) from None


def summary(flow: Workflow) -> str:
    """Tell in a line what a file makes."""
    depth: dict[str, int] = {}
    for task in flow.tasks:
        depth[task.name] = 1 + max((depth[parent] for parent in task.after), default=0)
    return (
        f"{flow.name}: {_count(len(flow.tasks), 'task')}, at most {max(depth.values())} one after the other"
    )


def tell(group: str, kept: Sequence[object], again: Sequence[object], new: Sequence[object]) -> None:
    """Say what of a workflow runs."""
    parts = [f"{len(part)} {word}" for part, word in ((new, "new"), (again, "again"), (kept, "kept")) if part]
    say(f"group @{group}: {', '.join(parts)}")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


VERBS = {"workflow": Verb(arguments, workflow)}

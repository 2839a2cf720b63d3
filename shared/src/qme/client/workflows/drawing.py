"""A workflow as text: a tree for a terminal, a Mermaid flowchart for a page. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from qme.client.workflows.expansion import Workflow
from qme.contracts.tasks import On

_WORDS = {On.SUCCESS: "", On.ANY: "any end", On.FAIL: "failure"}

Edges = dict[str, dict[str, On]]


def edges(flow: Workflow, *, whole: bool) -> Edges:
    """Give each node's parents; `whole` shows each task of a matrix, else one node stands for all of them."""
    if whole:
        return {task.name: dict(task.after) for task in flow.tasks}
    base = {task.name: task.base for task in flow.tasks}
    found: Edges = {}
    for task in flow.tasks:
        parents = found.setdefault(task.base, {})
        for parent, on in task.after.items():
            if base[parent] != task.base:
                parents.setdefault(base[parent], on)
    return found


def _titles(flow: Workflow, *, whole: bool) -> Mapping[str, str]:
    if whole:
        return {task.name: task.name for task in flow.tasks}
    return {
        name: name if len(made) == 1 else f"{name} (x{len(made)})" for name, made in flow.made.items() if made
    }


def tree(flow: Workflow, *, whole: bool = False) -> str:
    """Draw tasks below what they wait for. What has several parents stands below the last of them."""
    parents, titles = edges(flow, whole=whole), _titles(flow, whole=whole)
    children: dict[str, list[str]] = {name: [] for name in parents}
    for name, above in parents.items():
        for parent in above:
            children[parent].append(name)
    lines: list[str] = []
    for root in (name for name, above in parents.items() if not above):
        lines.append(titles[root])
        lines += _below(root, "", children, parents, titles)
    return "\n".join(lines)


def _below(
    name: str, indent: str, children: Mapping[str, Sequence[str]], parents: Edges, titles: Mapping[str, str]
) -> Iterator[str]:
    stack: list[tuple[str, str, Iterator[str]]] = [(name, indent, iter(children[name]))]
    left = {name: len(below) for name, below in children.items()}
    while stack:
        above, indent, rest = stack[-1]
        child = next(rest, None)
        if child is None:
            stack.pop()
            continue
        left[above] -= 1
        last = left[above] == 0
        word = _WORDS[parents[child][above]]
        how = f" (after {word})" if word else ""
        is_home = above == list(parents[child])[-1]
        yield f"{indent}{'└─ ' if last else '├─ '}{titles[child]}{how}{'' if is_home else ' …'}"
        if is_home:
            stack.append((child, indent + ("   " if last else "│  "), iter(children[child])))


def mermaid(flow: Workflow, *, whole: bool = False) -> str:
    """Draw a flowchart."""
    parents, titles = edges(flow, whole=whole), _titles(flow, whole=whole)
    ids = {name: f"t{at}" for at, name in enumerate(parents)}
    lines = ["flowchart TD"]
    lines += [f'    {ids[name]}["{titles[name].replace(chr(34), chr(39))}"]' for name in parents]
    for name, above in parents.items():
        for parent, on in above.items():
            arrow = f"-. {_WORDS[on]} .->" if _WORDS[on] else "-->"
            lines.append(f"    {ids[parent]} {arrow} {ids[name]}")
    return "\n".join(lines)

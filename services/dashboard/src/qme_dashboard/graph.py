"""Lays out a graph of tasks in columns: each stands right of all that it waits for. Pure; no drawing, no colours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Edge = tuple[str, str]

#: rounds in which the places of a column are put in the order of their neighbours'
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Layout:
    """Column and row of each node, from 0, and how many of both there are."""

    places: Mapping[str, tuple[int, float]]
    columns: int
    rows: int


def layout(nodes: Sequence[str], edges: Iterable[Edge]) -> Layout:
    """Give each node its place; edges lead from what is waited for to what waits. Unknown nodes don't count."""
    known = set(nodes)
    pairs = [(a, b) for a, b in dict.fromkeys(edges) if a in known and b in known and a != b]
    before, behind = defaultdict(list), defaultdict(list)
    for a, b in pairs:
        before[b].append(a)
        behind[a].append(b)
    column = _columns(nodes, before, behind)
    levels: list[list[str]] = [[] for _ in range(max(column.values(), default=-1) + 1)]
    for node in nodes:
        levels[column[node]].append(node)
    for turn in range(_ROUNDS):
        forth = turn % 2 == 0
        neighbours = before if forth else behind
        for level in levels if forth else reversed(levels):
            _sort(level, levels, neighbours)
    tallest = max(map(len, levels), default=0)
    places = {
        node: (number, place + (tallest - len(level)) / 2)
        for number, level in enumerate(levels)
        for place, node in enumerate(level)
    }
    return Layout(places, len(levels), tallest)


def _columns(
    nodes: Sequence[str], before: Mapping[str, Sequence[str]], behind: Mapping[str, Sequence[str]]
) -> dict[str, int]:
    """Give the length of the longest way to each node; what lies on a circle, which no submitter takes, comes last."""
    missing = {node: len(before.get(node, ())) for node in nodes}
    ready = [node for node in nodes if not missing[node]]
    column = dict.fromkeys(ready, 0)
    for node in ready:
        for other in behind.get(node, ()):
            column[other] = max(column.get(other, 0), column[node] + 1)
            missing[other] -= 1
            if not missing[other]:
                ready.append(other)
    last = max((column[node] for node in ready), default=-1) + 1
    return {node: column[node] if not missing[node] else last for node in nodes}


def _sort(level: list[str], levels: Sequence[Sequence[str]], neighbours: Mapping[str, Sequence[str]]) -> None:
    place = {node: number / max(len(one), 1) for one in levels for number, node in enumerate(one)}

    def middle(node: str) -> float:
        near = [place[other] for other in neighbours.get(node, ())]
        return sum(near) / len(near) if near else place[node]

    level.sort(key=middle)

"""Draws what waits for what, and when what ran: a graph with the colours of now, and bars over time.

The graph is a component of our own, `assets/graph.js`, which makes text nodes of all words.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import streamlit as st

from qme_dashboard import graph
from qme_dashboard.ui import parts
from qme_dashboard.ui.pages import ASSETS
from qme_dashboard.words import short, span

if TYPE_CHECKING:
    from streamlit.components.v2.types import ComponentRenderer

Row = dict[str, Any]

#: tasks that a graph, and a chart of bars, can hold and still be read
NODES, BARS = 300, 200
#: pixels: a box, and the room around it
_WIDTH, _HEIGHT, _ACROSS, _DOWN = 150, 38, 210, 52
#: characters of a label in a box
_LABEL = 20


def parents(row: Row) -> list[tuple[str, str]]:
    """Give the tasks that a row's task waits for, or has waited for, as uuid and how these have to end."""
    found: list[list[str]] = json.loads(row["after"])[1] if row["after"] else []
    return [(uuid, on) for uuid, on in found]


def label(row: Row) -> str:
    """Give what people call a task within its group."""
    return row["name"] or row["command"] or short(row["uid"])


def dependencies(rows: Sequence[Row], outside: Sequence[Row]) -> None:
    """Draw them; `outside`: what is waited for and belongs to no group, or to another one."""
    every = {row["uuid"]: row for row in (*outside, *rows)}
    edges = [(uuid, row["uuid"], on) for row in rows for uuid, on in parents(row) if uuid in every]
    found = graph.layout([*every], [(a, b) for a, b, _ in edges])
    spots = {uuid: (8 + x * _ACROSS, 8 + y * _DOWN) for uuid, (x, y) in found.places.items()}
    strange = {row["uuid"] for row in outside}
    data = {
        "title": "what waits for what",
        "width": (found.columns - 1) * _ACROSS + _WIDTH + 16,
        "height": max(found.rows - 1, 0) * _DOWN + _HEIGHT + 16,
        "edges": [_edge(spots[a], spots[b], on) for a, b, on in edges],
        "nodes": [_node(row, spots[uuid], uuid in strange) for uuid, row in every.items()],
    }
    _component()(key="graph", data=data)
    if any(on != "success" for _, _, on in edges):
        st.caption("A dashed arrow starts its task after any end, or after a failure only.")


def _edge(begin: tuple[float, float], end: tuple[float, float], on: str) -> list[Any]:
    (x1, y1), (x2, y2) = begin, end
    return [x1 + _WIDTH, y1 + _HEIGHT / 2, x2, y2 + _HEIGHT / 2, on != "success"]


def _node(row: Row, spot: tuple[float, float], outside: bool) -> dict[str, Any]:
    text = label(row)
    began, ended = row["started"], row["finished"]
    took = "" if began is None else f" · {span((ended or time.time() // 5 * 5) - began)}"
    return {
        "x": spot[0],
        "y": spot[1],
        "width": _WIDTH,
        "height": _HEIGHT,
        "label": text if len(text) <= _LABEL else text[: _LABEL - 1] + "…",
        "state": f"{parts.state_of(row)}{took}",
        "title": f"{row['uid']}\n{row['command']}",
        "colour": parts.INKS[row["grp"]],
        "running": row["grp"] == "running",
        "outside": outside,
        "href": f"/executor/{quote(row['uid'])}",
    }


def bars(rows: Sequence[Row]) -> None:
    """Draw when each waited and ran, in the order of their starts."""
    now = time.time()
    shown = sorted(rows[:BARS], key=lambda row: (row["started"] or now, row["created"]))
    values = [piece for place, row in enumerate(shown) for piece in _pieces(row, place, now)]
    inks = {"waited": "#8b93a155", **parts.INKS}
    there = [name for name in inks if any(one["what"] == name for one in values)]
    spec = {
        "data": {"values": values},
        "mark": {"type": "bar", "height": {"band": 0.7}},
        "height": {"step": 22},
        "encoding": {
            "y": {
                "field": "task",
                "type": "nominal",
                "sort": None,
                "title": None,
                "axis": {"labelLimit": 190},
            },
            "x": {
                "field": "from",
                "type": "temporal",
                "title": None,
                "axis": {"format": "%H:%M:%S", "tickCount": 6},
            },
            "x2": {"field": "until"},
            "color": {
                "field": "what",
                "type": "nominal",
                "scale": {"domain": there, "range": [inks[name] for name in there]},
                "legend": {"orient": "bottom", "title": None},
            },
            "tooltip": [{"field": "task"}, {"field": "what"}, {"field": "took"}],
        },
    }
    st.vega_lite_chart(spec, alt="when each task waited and ran")


def _pieces(row: Row, place: int, now: float) -> list[dict[str, Any]]:
    # Names need not differ, and each task has a line of its own.
    name = f"{label(row)[:40]} · {short(row['uid'])}"
    began, ended = row["started"], row["finished"]
    pieces = [(row["created"], min(began or ended or now, ended or now), "waited")]
    if began is not None:
        pieces.append((began, ended or now, row["grp"]))
    return [
        {
            "task": name,
            "place": place,
            "from": begin * 1000,
            "until": end * 1000,
            "what": what,
            "took": span(end - begin),
        }
        for begin, end, what in pieces
        if begin is not None
    ]


@cache
def _assets() -> dict[str, Any]:
    return {kind: (ASSETS / f"graph.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")}


def _component() -> ComponentRenderer:
    return st.components.v2.component("qme_graph", html='<div class="graph"></div>', **_assets())

"""Charts of several bars over time, in the colours of the pages. No counting here: `figures` has made the series."""

from __future__ import annotations

from typing import Any

import streamlit as st

from qme_dashboard.figures import STACK

_HEIGHT = 290


def stacked(series: dict[str, list[Any]]) -> None:
    """Draw tasks ended per minute, stacked by outcome; times are those of the browser's own zone."""
    times = [time.timestamp() * 1000 for time in series["time"]]
    step = times[1] - times[0] if len(times) > 1 else 60_000
    values = []
    for place, time in enumerate(times):
        low = 0.0
        for name in STACK:
            number = series[name][place]
            if number:
                values.append({"from": time, "until": time + step, "outcome": name, "low": low, "high": low + number,
                               "per minute": number})  # fmt: skip
            low += number
    encoding = {
        "x": {
            "field": "from",
            "type": "temporal",
            "title": None,
            "scale": {"domain": [times[0], times[-1] + step]},
            "axis": {"format": "%H:%M", "tickCount": 8, "grid": False},
        },
        "x2": {"field": "until"},
        "y": {
            "field": "low",
            "type": "quantitative",
            "title": None,
            "axis": {"tickMinStep": 1},
            "scale": {} if values else {"domain": [0, 1]},
        },
        "y2": {"field": "high"},
        "color": {
            "field": "outcome",
            "type": "nominal",
            "scale": {"domain": [*STACK], "range": [*STACK.values()]},
            "legend": {"orient": "bottom", "title": None},
        },
        "tooltip": [
            {"field": "from", "type": "temporal", "format": "%H:%M", "title": "from"},
            {"field": "outcome"},
            {"field": "per minute"},
        ],
    }
    st.vega_lite_chart(
        {"data": {"values": values}, "mark": "bar", "height": _HEIGHT, "encoding": encoding},
        alt="tasks ended per minute, by outcome",
    )

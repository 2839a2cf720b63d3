"""Small plots as SVG, one below the other, with a logarithmic axis of counts. Draws; measures nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT, _LEFT, _GAP = 640, 130, 70, 40


def svg(lines: Mapping[str, Sequence[tuple[float, float]]], across: str) -> str:
    """Draw each line in a field of its own, from zero up."""
    height = len(lines) * (_HEIGHT + _GAP) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        'font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for place, (name, points) in enumerate(lines.items()):
        parts.append(_field(name, points, place * (_HEIGHT + _GAP) + 30))
    parts.append(f'<text x="{_WIDTH - 60}" y="{height - 4}">{escape(across)}</text></svg>')
    return "\n".join(parts) + "\n"


def _field(name: str, points: Sequence[tuple[float, float]], top: float) -> str:
    low, high = (math.log10(pick(count for count, _ in points)) for pick in (min, max))
    most = max(value for _, value in points) or 1.0
    placed = [
        (
            _LEFT + (math.log10(count) - low) / ((high - low) or 1.0) * (_WIDTH - _LEFT - 40),
            top + _HEIGHT - value / most * (_HEIGHT - 20),
            count,
            value,
        )
        for count, value in points
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in placed)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#0b62a4"/>'
        f'<text x="{x - 12:.1f}" y="{y - 6:.1f}">{value:.3g}</text>'
        f'<text x="{x - 16:.1f}" y="{top + _HEIGHT + 14:.1f}" fill="#666">{count:,.0f}</text>'
        for x, y, count, value in placed
    )
    axis = f'<line x1="{_LEFT}" y1="{top + _HEIGHT}" x2="{_WIDTH - 20}" y2="{top + _HEIGHT}" stroke="#999"/>'
    line = f'<polyline points="{path}" fill="none" stroke="#0b62a4" stroke-width="2"/>'
    return f'<text x="4" y="{top - 8}" font-weight="bold">{escape(name)}</text>{axis}{line}{dots}'

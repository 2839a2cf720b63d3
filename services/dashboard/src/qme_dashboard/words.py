"""How numbers, times and other people's text are put into words for a page. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

#: what Markdown could take for its own
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")


def span(seconds: float | None) -> str:
    """Say how long something took; a dash where nobody knows."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = int(seconds)
    for size, unit, part, less in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit} {rest} {less}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def rough(seconds: float | None) -> str:
    """Say the same in its largest unit alone."""
    return " ".join(span(seconds).split()[:2])


def ago(then: float | None, now: float) -> str:
    """Say how long ago a moment was."""
    return "-" if then is None else f"{span(now - then)} ago"


def moment(seconds: float | None) -> datetime | None:
    """Give a time of the store as tables take it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def plain(text: str) -> str:
    """Give text that reads the same in Markdown: nothing in it is a link, an image or a heading."""
    return _PUNCTUATION.sub(r"\\\1", " ".join(text.split()))


def short(uid: str) -> str:
    """Give the end of an id, by which people tell tasks apart."""
    return uid[-8:]


def count(number: int, what: str) -> str:
    """Say how many, such as ``1 task`` or ``2 tasks``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


#: first parts of addresses that are something else than an executor's page
_TAKEN = frozenset(
    {
        "api",
        "component",
        "executor",
        "groups",
        "healthz",
        "media",
        "metrics",
        "overview",
        "readyz",
        "static",
        "tasks",
        "workers",
    }
)


def path_of(executor: str) -> str:
    """Give the path of an executor's page; names hold no dash, so that none can be another's."""
    return f"executor-{executor}" if executor in _TAKEN else executor


def size(number: object, unit: int = 1) -> str | None:
    """Say how many bytes; `unit` is how many of them the number counts. None for what is no number."""
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return None
    scaled = float(number * unit)
    for name in ("B", "KiB", "MiB", "GiB"):
        if scaled < 1024:
            return f"{scaled:.0f} {name}" if name == "B" or scaled >= 100 else f"{scaled:.1f} {name}"
        scaled /= 1024
    return f"{scaled:.1f} TiB"

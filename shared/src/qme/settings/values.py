"""The kinds of values: how text is read, what is allowed, how a value is shown. No files here."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from qme import redact

T = TypeVar("T")

_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\Z", re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_BYTES = {
    **{"": 1, "b": 1},
    **{unit + tail: 1000**power for power, unit in enumerate("kmgt", 1) for tail in ("", "b")},
    **{unit + "ib": 1024**power for power, unit in enumerate("kmgt", 1)},
}
#: longer or larger than anything meant: beyond these, clocks and the servers' own counters overflow
_LONGEST = 100 * 365 * 86_400.0
_LARGEST = 2**62
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_SCHEMES = ("nats", "tls", "ws", "wss")


class Kind(Generic[T]):
    """One kind of value.

    ``parse`` reads text and raises ValueError when it can't; ``allowed`` says in words what it takes,
    ``show`` writes a value as text that reads back the same, ``unit`` is the value's unit ("" for none).
    """

    def __init__(
        self, parse: Callable[[str], T], allowed: str, show: Callable[[T], str] = str, unit: str = ""
    ) -> None:
        self.parse, self.allowed, self.show, self.unit = parse, allowed, show, unit


def duration(*, zero: str | None = None) -> Kind[float]:
    """Make the kind of a time span, in seconds. ``zero`` is the word for 0, where 0 has a meaning."""

    def parse(text: str) -> float:
        if zero and text.lower() in (zero, "0"):
            return 0.0
        seconds = _scaled(text, _SECONDS)
        if not 0 < seconds <= _LONGEST:
            raise ValueError(text)
        return seconds

    def show(seconds: float) -> str:
        if zero and seconds == 0:
            return zero
        for unit in ("d", "h", "m"):
            if seconds % _SECONDS[unit] == 0:
                return f"{seconds / _SECONDS[unit]:.0f}{unit}"
        return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"

    word = f" or {zero}" if zero else ""
    return Kind(parse, f"a time such as 30, 0.5s, 5m, 8h or 7d{word}", show, "seconds")


def size(low: int = 1, high: int = _LARGEST) -> Kind[int]:
    """Make the kind of an amount of bytes within bounds."""

    def parse(text: str) -> int:
        amount = int(_scaled(text, _BYTES))
        if not low <= amount <= high:
            raise ValueError(text)
        return amount

    def show(amount: int) -> str:
        for unit in ("TiB", "GiB", "MiB", "KiB"):
            if amount and amount % _BYTES[unit.lower()] == 0:
                return f"{amount // _BYTES[unit.lower()]}{unit}"
        return str(amount)

    bounds = "" if (low, high) == (1, _LARGEST) else f", from {show(low)} to {show(high)}"
    return Kind(parse, f"a size such as 4096, 512k, 1GB (1000s), 64MiB (1024s){bounds}", show, "bytes")


def integer(low: int = 0, high: int = 2**31 - 1) -> Kind[int]:
    """Make the kind of a whole number within bounds."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,12}", text) or not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    return Kind(parse, f"a whole number from {low} to {high}")


def choice(*words: str) -> Kind[str]:
    """Make the kind of one word out of a few; case does not matter."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(text)
        return text.lower()

    return Kind(parse, " | ".join(words))


def matching(pattern: str, allowed: str) -> Kind[str]:
    """Make the kind of a text that fully matches a regular expression; ``allowed`` says it in words."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(text)
        return text

    return Kind(parse, allowed)


def _names(text: str) -> tuple[str, ...]:
    if text.lower() == "none":
        return ()
    found = tuple(name.strip() for name in text.split(","))
    if not all(found) or any(re.search(r"\s", name) for name in found):
        raise ValueError(text)
    return found


def _folders(text: str) -> tuple[Path, ...]:
    found = tuple(_path(folder.strip()) for folder in text.split(":"))
    if not all(folder.is_absolute() for folder in found):
        raise ValueError(text)
    return found


def _patterns(text: str) -> tuple[str, ...]:
    found = tuple(text.split())
    if not found:
        raise ValueError(text)
    import re2  # few settings are patterns

    options = re2.Options()
    options.log_errors = False
    for pattern in found:
        try:
            re2.compile(pattern, options)
        except (re2.error, UnicodeEncodeError) as error:
            raise ValueError(text) from error
    return found


def _entries(text: str) -> tuple[tuple[str, ...], ...]:
    found = tuple(_patterns(entry) for entry in text.split(";") if entry.strip())
    if not found:
        raise ValueError(text)
    return found


def _scaled(text: str, units: dict[str, int]) -> float:
    found = _NUMBER.match(text)
    if not found or found[2].lower() not in units or len(found[1]) > 24:
        raise ValueError(text)
    return float(found[1]) * units[found[2].lower()]


def _boolean(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError(text)
    return text.lower() in _TRUE


def _number(text: str) -> float:
    if not re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", text):
        raise ValueError(text)
    return float(text)


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError(text)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # "~nobody/…", or no home folder at all
        raise ValueError(text) from error


def _servers(text: str) -> str:
    for server in text.split(","):
        scheme, mark, rest = server.strip().rpartition("://")
        if not rest or re.search(r"[\s/]", rest) or (mark and scheme not in _SCHEMES):
            raise ValueError(text)
    return text


TEXT: Kind[str] = Kind(str, "any text on one line")
BOOLEAN: Kind[bool] = Kind(_boolean, "true | false", lambda value: str(value).lower())
NUMBER: Kind[float] = Kind(_number, "a number such as 2 or 0.5")
INTEGER = integer(-(2**31))
#: ``~`` is expanded; what is still relative is made absolute by the loader, which knows where it was written
PATH: Kind[Path] = Kind(_path, "an absolute path, or one that starts with ~")
SERVERS: Kind[str] = Kind(_servers, "nats://HOST:PORT or tls://HOST:PORT, several with commas", redact.text)
#: several names, in order
NAMES: Kind[tuple[str, ...]] = Kind(
    _names, "names with commas between them, or none", lambda names: ",".join(names) or "none"
)
FOLDERS: Kind[tuple[Path, ...]] = Kind(
    _folders, "absolute paths with : between them", lambda folders: ":".join(map(str, folders))
)
PATTERNS: Kind[tuple[str, ...]] = Kind(_patterns, "RE2 patterns with blanks between them", " ".join)
#: each entry is several patterns
ENTRIES: Kind[tuple[tuple[str, ...], ...]] = Kind(
    _entries,
    "entries with ; between them, each an RE2 pattern for the program and, after blanks, for its arguments",
    lambda entries: "; ".join(map(" ".join, entries)),
)

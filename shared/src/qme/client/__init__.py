"""The client library: `connect` gives an `AsyncClient`; `qme.Queue` is the synchronous one. No printing, no exit codes.

The command line and the dashboard call only this; nothing here starts a command or writes a record. What it exports is
loaded when first asked for: a plain `qme submit` needs next to nothing of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qme.client.api import AsyncClient
    from qme.client.listing import Listing, Wanted
    from qme.client.pieces import Chunk, Gap
    from qme.client.submission import Options

_HOMES = {
    "AsyncClient": "api",
    "Chunk": "pieces",
    "Gap": "pieces",
    "Listing": "listing",
    "Options": "submission",
    "Wanted": "listing",
}

__all__ = ["AsyncClient", "Chunk", "Gap", "Listing", "Options", "Wanted"]


def __getattr__(name: str) -> object:
    """Find one of them when first asked for; raises AttributeError for any other name."""
    if name in _HOMES:
        return getattr(import_module(f"qme.client.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

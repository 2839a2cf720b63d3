"""The client library: `connect` gives an `AsyncClient`; `qme.Queue` is the synchronous one. No printing, no exit codes.

The command line and the dashboard call only this; nothing here starts a command or writes a record.
"""

from qme.client.api import AsyncClient
from qme.client.listing import Listing, Wanted
from qme.client.pieces import Chunk, Gap
from qme.client.submission import Options

__all__ = ["AsyncClient", "Chunk", "Gap", "Listing", "Options", "Wanted"]

"""qme ("queue me"): hand a command to whichever machine can run it, and see what became of it from anywhere.

Three names live here, ``qme.Queue``, ``qme.Futures`` and ``qme.__version__``, all found on first use. This file imports
nothing, not even from the standard library: every ``import qme.something`` runs it, and the command line has
to start fast.
"""

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without the import; type checkers know the name
if TYPE_CHECKING:
    from qme.client.futures import Futures
    from qme.client.queue import Queue

__all__ = ["Futures", "Queue", "__version__"]

__version__: str


def __getattr__(name: str) -> object:
    """Find one of them when first asked for; raises AttributeError for any other name."""
    if name == "Queue":
        from qme.client.queue import Queue

        return Queue
    if name == "Futures":
        from qme.client.futures import Futures

        return Futures
    if name == "__version__":
        from importlib.metadata import version

        return version("qme-core")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

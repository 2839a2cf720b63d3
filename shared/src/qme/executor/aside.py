"""Work that may block for as long as a file server does not answer: in a thread of its own, so that nobody else waits.

Not asyncio's own threads: those are few, so some dead mounts would stop them all, and they are waited for at the end.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


async def aside(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Do it, and give its result or raise its error. Cancelling this leaves it to itself."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work(*args, **options)
        except Exception as raised:  # handed on, whatever it is
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop has ended: nobody asks any more
            return

    threading.Thread(target=run, name=f"aside {getattr(work, '__name__', work)}", daemon=True).start()
    return await done

"""Work that may block for as long as a file server does not answer: in a thread of its own, so that nobody else waits.

Not asyncio's own threads: those are few, so some dead mounts would stop them all, and they are waited for at the end.
A thread that is done stays for the next piece of work for a while, since to start one costs more than most of the work.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

#: seconds that a thread waits for more work, and threads that do so at a time
_IDLE, _KEPT = 10.0, 4

_Job = Callable[[], None]
#: the inboxes of threads that wait, the one that came last at the end
_waiting: list[queue.SimpleQueue[_Job]] = []
_lock = threading.Lock()


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

    _hand_over(run)
    return await done


def _hand_over(job: _Job) -> None:
    with _lock:
        inbox = _waiting.pop() if _waiting else None
    if inbox is None:
        threading.Thread(target=_serve, args=(job,), name="aside", daemon=True).start()
    else:
        inbox.put(job)


def _serve(job: _Job) -> None:
    inbox: queue.SimpleQueue[_Job] = queue.SimpleQueue()
    while True:
        job()
        with _lock:
            if len(_waiting) >= _KEPT:
                return
            _waiting.append(inbox)
        try:
            job = inbox.get(timeout=_IDLE)
        except queue.Empty:
            with _lock:
                if inbox in _waiting:
                    _waiting.remove(inbox)
                    return
            job = inbox.get()  # it is being handed over at this moment

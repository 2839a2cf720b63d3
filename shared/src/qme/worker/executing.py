"""What an executor's `execute` comes to: a result, whatever it raises. Knows no records and writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from qme.contracts.tasks import Outcome
from qme.errors import QmeError
from qme.executor.base import CommandLost, Executor, Result, Task
from qme.executor.workplace import WorkplaceError
from qme.observe.logging import get_logger
from qme.worker.judging import Refused
from qme.worker.verdict import wish

log = get_logger(__name__)

#: returncode of an attempt that failed by qme's own doing, as `qme run` shows it
OWN_FAILURE = 125


class NotStarted(QmeError):
    """The task was cancelled before its command started."""


class ClaimGone(QmeError):
    """The record gives this attempt to nobody, or to another worker."""


#: raises where the attempt must not begin
Admit = Callable[[], Awaitable[None]]


async def execute(executor: Executor[Any], task: Task, gone: asyncio.Event, admit: Admit) -> Result:
    """Execute an attempt until it has ended, once `admit` lets it begin.

    Raises ClaimGone, also once `gone` says that another worker has it.
    """
    executing = asyncio.create_task(_result(executor, task, admit))
    losing = asyncio.create_task(gone.wait())
    try:
        await asyncio.wait({executing, losing}, return_when=asyncio.FIRST_COMPLETED)
        if executing.done():
            return executing.result()
        raise ClaimGone(f"{task.record.worker} has taken it over")
    finally:
        for one in (executing, losing):
            one.cancel()
        await asyncio.gather(executing, losing, return_exceptions=True)


async def _result(executor: Executor[Any], task: Task, admit: Admit) -> Result:
    try:
        await admit()
        return await executor.execute(task)
    except ClaimGone:
        raise
    except NotStarted:
        return Result(None, Outcome.CANCELLED, reason=f"{wish(task.record.cancel)}, before it started")
    except CommandLost as lost:
        if task.cancelled:  # whoever wanted its end has it
            return Result(None, Outcome.CANCELLED, reason=f"{wish(task.record.cancel)}; {lost.message}")
        return Result(None, Outcome.LOST, reason=lost.message)
    except (Refused, WorkplaceError) as error:
        return Result(OWN_FAILURE, Outcome.SUBMIT_FAILED, reason=error.message)
    except Exception as error:
        log.exception("attempt.executor_failed", attempt=task.number)
        await task.end("cancel")
        why = error.message if isinstance(error, QmeError) else f"{type(error).__name__}: {error}"
        return Result(OWN_FAILURE, Outcome.FAILED, reason=f"the executor failed: {why}")

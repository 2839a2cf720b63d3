"""Brings a worker to its bus, and waits there until a submitter has set it up. Takes all the time it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from qme.bus.port import Bus
from qme.contracts import subjects
from qme.errors import BusUnavailable, NotFound, QmeError, SettingsError
from qme.observe.logging import get_logger
from qme.settings import Settings

log = get_logger(__name__)

T = TypeVar("T")

#: seconds between two tries, and between two lines in the log about the same wait
FIRST_PAUSE, LONGEST_PAUSE, LINE = 0.1, 2.0, 30.0


async def open_bus(settings: Settings, name: str) -> Bus:
    """Connect to the settings' bus, or to the local stack. Raises NotPermitted, SettingsError, LocalStackError."""
    from qme.bus.connect import connect  # brings NATS along, which a worker on another bus does without

    if settings.nats_url is None:
        if not settings.embedded:
            raise SettingsError("there is no bus to connect to: nats_url is unset, and embedded is false")
        from qme import local  # starts processes: not for those who have a bus

        endpoint = await local.ensure(settings)
        url: str = endpoint.url
        creds: Path | None = endpoint.creds
    else:
        url, creds = settings.nats_url, settings.nats_creds
    return await _patiently("the bus", lambda: connect(settings, url=url, creds=creds, name=name))


async def ready(bus: Bus, executor: str, pool: str) -> None:
    """Wait until the streams exist that a worker reads and writes. Raises NotPermitted."""
    needed = {subjects.LOGS: "qme.logs.none"}
    for bucket, key in (
        (subjects.BUCKET_EXECUTORS, subjects.definition_key(executor, pool)),
        (subjects.BUCKET_SPECS, f"{executor}.{pool}.none"),
        (subjects.BUCKET_TASKS, f"{executor}.{pool}.none"),
    ):
        needed[subjects.bucket_stream(bucket)] = subjects.bucket_subject(bucket, key)
    for stream, subject in needed.items():
        await _patiently(f"a submitter to set up {stream}", partial(bus.last, stream, subject))


async def _patiently(whom: str, ask: Callable[[], Awaitable[T]]) -> T:
    clock = asyncio.get_running_loop().time
    pause, next_line = (
        FIRST_PAUSE,
        clock() + 1.0,
    )  # in a stack that starts, all come at once: no word about that
    while True:
        try:
            return await ask()
        except (BusUnavailable, NotFound) as error:
            problem: QmeError = error
        if clock() >= next_line:
            log.warning("worker.waits", whom=whom, problem=problem.message)
            next_line = clock() + LINE
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)

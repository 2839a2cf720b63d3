"""`qme doctor`: looks at each part between here and a worker, and says which one does not answer."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from qme.bus import expiry
from qme.cli.context import Context
from qme.cli.parsing import Arguments, Parser
from qme.cli.patience import full_disk
from qme.cli.table import Table
from qme.cli.verbs import Verb
from qme.client import AsyncClient
from qme.contracts import subjects
from qme.contracts.messages import FULL
from qme.errors import LimitReached, NotFound, QmeError
from qme.executor import Check, registry
from qme.settings import load_executor_settings


def arguments(_: Parser) -> None:
    """None."""


async def doctor(_: Arguments, context: Context) -> int:
    """Print one line for each part; exit with the first problem's code."""
    table = Table([("PART", 10), ("STATE", 8), ("", 0)])
    code = await _bus(table, context)
    return code or await _executors(table, context)


async def _bus(table: Table, context: Context) -> int:
    try:
        settings = context.settings
        where = "a bus of the site" if settings.nats_url else "the local stack"
        table.row("settings", "ok", f"home {settings.home}, {where}")
        if full := full_disk(settings):
            table.row("disk", "problem", full)
        begin = time.perf_counter()
        async with context.client() as client:
            table.row("bus", "ok", f"connected as {client.user} in {_ms(begin)}")
            ends = await _ends(context, table)
            beyond = await _beyond(client, table)
            return LimitReached.exit_code if full else beyond or ends
    except QmeError as error:
        table.row("settings" if error.code == "settings" else "bus", "problem", error.message)
        return error.exit_code


async def _ends(context: Context, table: Table) -> int:
    """Tell when keys and certificates end; soon is a problem, as somebody has to act."""
    code, now = 0, datetime.now(UTC)
    for end in await expiry.ends(context.settings):
        soon = end.within(context.settings.ends_warning, now)
        table.row("ends", "problem" if soon else "ok", end.sentence(now))
        code = QmeError.exit_code if soon else code
    return code


async def _executors(table: Table, context: Context) -> int:
    """Ask the executors that are installed here what they need of this host."""
    code = 0
    for name in registry.names():
        try:
            kind = registry.load(name)
            found = load_executor_settings(name, kind.settings_type, home=context.settings.home)
            checks = await kind(found.settings).checks()
        except QmeError as error:
            checks = [Check("", "problem", error.message)]
        for check in checks:
            table.row(f"{name} {check.part}".strip(), check.state, check.said)
            code = code or (QmeError.exit_code if check.state == "problem" else 0)
    return code


async def _beyond(client: AsyncClient, table: Table) -> int:
    code = 0
    for part, check in (
        ("records", _records),
        ("room", _room),
        ("submitter", _submitter),
        ("workers", _workers),
    ):
        try:
            table.row(part, "ok", await check(client))
        except QmeError as error:
            table.row(part, "problem", error.message)
            code = code or error.exit_code
    return code


async def _records(client: AsyncClient) -> str:
    begin = time.perf_counter()
    state = await client.bus.state(subjects.bucket_stream(subjects.BUCKET_TASKS))
    limit = f" of {state.max_bytes >> 20} MiB" if state.max_bytes else ""
    return f"{state.messages} records, {state.bytes >> 20} MiB{limit}; answered in {_ms(begin)}"


async def _room(client: AsyncClient) -> str:
    """Tell how full the streams are that refuse what is new when they are; the others let their oldest go."""
    names = (subjects.TASKS, *map(subjects.bucket_stream, (subjects.BUCKET_TASKS, subjects.BUCKET_SPECS)))
    states = {name: await client.bus.state(name) for name in names}
    shares = {name: state.bytes / state.max_bytes for name, state in states.items() if state.max_bytes}
    told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    if any(share >= FULL for share in shares.values()):
        raise LimitReached(
            f"{told} full; new tasks are refused from {FULL:.0%}: `qme clear --older-than 7d` makes room, or raise the "
            "*_max_bytes in the submitters' settings"
        )
    return f"{told} full"


async def _submitter(client: AsyncClient) -> str:
    begin = time.perf_counter()
    reply = await client.match(["true"])
    return f"answered in {_ms(begin)}; `true` would go to {reply.executor or 'nobody'}: {reply.why}"


async def _workers(client: AsyncClient) -> str:
    known = await client.executors()
    alive = [
        f"{one.definition.executor}/{one.definition.pool} {len(one.workers)}" for one in known if one.workers
    ]
    if not alive:
        raise NotFound("no worker is alive; `qme worker NAME` runs one")
    paused = [
        f"{worker.worker} ({one.definition.executor}): {worker.paused}"
        for one in known
        for worker in one.workers
        if worker.paused
    ]
    if paused:
        raise LimitReached(f"{', '.join(alive)}; paused: {', '.join(paused)}")
    return ", ".join(alive)


def _ms(begin: float) -> str:
    return f"{(time.perf_counter() - begin) * 1000:.0f} ms"


VERBS = {"doctor": Verb(arguments, doctor)}

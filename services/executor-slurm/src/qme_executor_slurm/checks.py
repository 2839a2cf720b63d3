"""Looks at Slurm from this host for `qme doctor`: programs, controller, accounting, limits. `diagnosis` words it."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from datetime import UTC, datetime

from qme.executor import Check
from qme_executor_slurm import diagnosis, parsers, queries
from qme_executor_slurm.commands import NoAnswer, Slurm
from qme_executor_slurm.settings import SlurmSettings

#: seconds that one command is given: a daemon that hangs is said to hang, and nobody waits for it
_PATIENCE = 8.0


async def look(settings: SlurmSettings) -> list[Check]:
    """Give all checks. Takes about as long as one command may."""
    missing = [program for program in diagnosis.PROGRAMS if shutil.which(program) is None]
    if "sbatch" in missing:
        return [diagnosis.no_clients()]
    slurm = Slurm(min(_PATIENCE, settings.command_timeout), os.getuid())
    version, trouble, _ = await _asked(slurm, queries.version())
    if version is None:
        return [diagnosis.no_version(trouble or "")]
    clients = diagnosis.clients(version.strip(), missing)
    if clients.state == "problem":
        return [clients]
    _, trouble, seconds = await _asked(slurm, queries.ping())
    controller = diagnosis.controller(trouble, seconds)
    told = await _asked(slurm, queries.config()) if trouble is None else (None, "", 0.0)
    config = parsers.config(told[0] or "")
    asked = [
        _asked(slurm, queries.sacct([0], datetime.now(UTC), uid=os.getuid())),
        _asked(slurm, queries.qos()),
    ]
    (_, silent, took), (rows, _, _) = await asyncio.gather(*asked)
    found = [clients, controller, diagnosis.accounting(config, silent, took)]
    if config:
        found += [diagnosis.limits(config, settings.poll_longest), diagnosis.submit_limits(config, rows)]
    return found


async def _asked(slurm: Slurm, argv: list[str]) -> tuple[str | None, str | None, float]:
    """Give what a command prints, or what it complains of, and the seconds it took."""
    begin = time.monotonic()
    try:
        text, trouble = await slurm.told(argv), None
    except NoAnswer as error:
        text, trouble = None, error.message
    return text, trouble, time.monotonic() - begin

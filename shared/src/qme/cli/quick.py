"""`qme submit CMD` without any option, on the shortest way: no models, no client, one request that is written by hand.

Loading the models takes as long as all else that a submission does. Whatever is not plain, or does not go as it should,
is left to `submit` under the same uuid: who submits a uuid twice gets one task, and `submit` knows what to say.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from qme.cli.context import Context, say
from qme.client import words
from qme.client.connect import open_bus
from qme.client.origin import new_uuid, umask, working_directory
from qme.contracts.subjects import api_subject
from qme.errors import QmeError


def submit(argv: Sequence[str], context: Context) -> int | None:
    """Submit a plain command and print its id; None: nothing was printed, and `submit` has to do it.

    What has been begun is named in the context then.
    """
    if not _is_plain(argv):
        return None
    gc.disable()  # nothing here lives long enough
    settings = context.settings
    uuid = context.begun = new_uuid()
    task = submission(argv, uuid, settings.host, settings.pool)
    result = asyncio.run(_ask(task, context))
    gc.enable()
    if not result.get("taskid") or result.get("error"):
        return None
    if result.get("note"):
        say(str(result["note"]))
    show(result["taskid"], result["taskid"])
    return 0


def show(text: str, name: str) -> None:
    """Print what tells of an accepted task."""
    try:
        print(text, flush=True)
    except OSError as error:  # the task is there all the same; unsaid, it would be submitted once more
        say(f"accepted as {name}, which could not be printed: {error.strerror}")
        raise


def submission(argv: Sequence[str], uuid: str, host: str, pool: str | None) -> dict[str, Any]:
    """Give the fields that `prepare` gives where no options are given, as JSON has them. Raises InvalidRequest."""
    command, cwd = words.argv_of(argv), working_directory()
    fields = {
        "uuid": uuid,
        "argv": command,
        "shell": words.needs_shell(command, cwd),
        "cwd": cwd,
        "umask": umask(),
        "pool": pool,
        "host": host,
    }
    return {name: value for name, value in fields.items() if value not in (None, False)}


async def _ask(task: dict[str, Any], context: Context) -> dict[str, Any]:
    settings = context.settings
    bus = await open_bus(settings, "cli", say)
    try:
        expires = datetime.now(UTC) + timedelta(seconds=settings.request_timeout)
        request = {"id": new_uuid(), "expires": expires.isoformat(), "client": settings.host, "tasks": [task]}
        subject = api_subject(bus.user, "submit")
        # Long enough for a submitter that is there; the rest of the patience is `submit`'s.
        answer = await bus.request(
            subject, json.dumps(request).encode(), timeout=settings.request_timeout / 3
        )
        result: dict[str, Any] = json.loads(answer)["results"][0]
    except (QmeError, ValueError, KeyError, TypeError, IndexError):
        return {}
    finally:
        await bus.close()
    return result


def _is_plain(argv: Sequence[str]) -> bool:
    """No options of ours, and a command that takes no script along."""
    if not argv or argv[0].startswith("-"):
        return False
    program = argv[0].split(maxsplit=1)[0] if argv[0].strip() else ""
    return program.rpartition("/")[2] not in ("", "sbatch")

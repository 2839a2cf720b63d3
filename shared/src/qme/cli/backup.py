"""`qme backup` and `restore`: the whole state of a bus into a folder and back. The local stack has to be down for the
latter; its server alone is started for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from qme.bus.connect import connect
from qme.bus.port import Bus
from qme.cli.context import Context, say
from qme.cli.parsing import Arguments, Parser
from qme.cli.verbs import Verb
from qme.errors import InvalidRequest, LocalStackError
from qme.settings import Settings

if TYPE_CHECKING:
    from qme.client.restore import Waiting


def backup_arguments(parser: Parser) -> None:
    """Where to."""
    parser.add_argument(
        "folder", metavar="FOLDER", type=Path, help="a new or empty one; nobody else can read it"
    )


async def backup(args: Arguments, context: Context) -> int:
    """Write all of the bus's state into a folder, while everything goes on."""
    from qme.client.backup import make

    async with context.client() as client:
        made = await make(client.bus, args.folder)
    for part in made.parts:
        say(f"{part.stream}: {part.messages} messages, {part.bytes} bytes")
    say(
        f"{args.folder} is a backup of {made.made:%Y-%m-%d %H:%M:%S} UTC; what was submitted is in it, secrets too"
    )
    return 0


def restore_arguments(parser: Parser) -> None:
    """Where from, and over what."""
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="what `qme backup` has written")
    parser.add_argument(
        "--replace", action="store_true", help="also over tasks that are there: they are gone then"
    )
    parser.add_argument(
        "--waiting",
        choices=("run", "cancel"),
        help="what becomes of tasks that nobody had started (default on the local stack: run)",
    )


async def restore(args: Arguments, context: Context) -> int:
    """Put a backup back onto a bus without submitters."""
    from qme.client.restore import put_back

    settings = context.settings
    waiting: Waiting | None = args.waiting or (None if settings.nats_url else "run")
    if waiting is None:
        raise InvalidRequest(
            "say what becomes of tasks that nobody had started when the backup was made: --waiting run (no worker has "
            "worked since) or --waiting cancel (one may have started them; their owners can rerun them)"
        )
    async with _unserved(settings) as bus:
        done = await put_back(
            bus, args.folder, replicas=settings.replicas, waiting=waiting, replace=args.replace
        )
    for part, cancelled in done:
        ended = f", {cancelled} that waited were cancelled" if cancelled else ""
        say(f"{part.stream}: {part.messages} messages{ended}")
    say("restored; now start the submitters, and start all workers anew: they look for their tasks then")
    return 0


@asynccontextmanager
async def _unserved(settings: Settings) -> AsyncIterator[Bus]:
    """Connect to a bus without a submitter: the settings' one, or the local stack's server, started alone."""
    if settings.nats_url is not None:
        bus = await connect(settings, name="restore")
        try:
            yield bus
        finally:
            await bus.close()
        return
    from qme.local import control, starting
    from qme.local.stack import Endpoint

    async def ready(_: Settings, __: Endpoint, check: object) -> None:
        """Nothing but the server has to be there."""

    if control.status(settings).running:
        raise LocalStackError("the local stack runs; `qme down` first (--leave lets running commands run on)")
    alone = starting.Recipe(services=lambda _: (), serving=ready)
    endpoint = await starting.start(settings, say=lambda _: None, recipe=alone)
    try:
        bus = await connect(settings, url=endpoint.url, creds=endpoint.creds, name="restore")
        try:
            yield bus
        finally:
            await bus.close()
    finally:
        await control.down(settings, leave=True, say=lambda _: None)


VERBS = {"backup": Verb(backup_arguments, backup), "restore": Verb(restore_arguments, restore)}

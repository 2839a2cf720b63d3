"""A program for the supervisor, which stays small without it: prints a count of the tasks as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from qme.local import tasks
from qme.local.stack import Endpoint
from qme.settings import load


async def _main() -> None:
    endpoint = Endpoint(os.environ["QME_NATS_URL"], Path(os.environ["QME_NATS_CREDS"]))
    found = await tasks.tally(load().settings, endpoint)
    sys.stdout.write(json.dumps({"unended": len(found.unended), "latest": found.latest}) + "\n")


if __name__ == "__main__":
    asyncio.run(_main())

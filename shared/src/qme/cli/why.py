"""`qme why`: what a task waits for, one sentence for each thing."""

from __future__ import annotations

import json

from qme.cli.context import Context
from qme.cli.parsing import ID_HELP, Arguments, Parser
from qme.cli.table import visible
from qme.cli.verbs import Verb
from qme.client import why as looking


def arguments(parser: Parser) -> None:
    """Which task."""
    parser.add_argument("id", nargs="?", metavar="ID", help=f"{ID_HELP} (default: your last task)")
    parser.add_argument("--json", action="store_true", help="as JSON, with what each sentence is made of")


async def why(args: Arguments, context: Context) -> int:
    """Print why a task stands as it does."""
    async with context.client() as client:
        record, found = await looking.why(client, args.id)
    if args.json:
        said = [{"kind": one.kind, "says": one.says, **one.data} for one in found]
        document = {"schema": 1, "uid": record.uid, "status": record.status, "obstacles": said}
        print(json.dumps(document, default=str))
        return 0
    for one in found:
        print(visible(one.says))
    return 0


VERBS = {"why": Verb(arguments, why)}

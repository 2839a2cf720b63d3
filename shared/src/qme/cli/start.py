"""`qme start`: the dashboard. Finds it by entry point, since the library knows none of the services."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import entry_points
from typing import Any

from qme.cli.context import Context
from qme.cli.parsing import Arguments, Parser
from qme.cli.verbs import Verb
from qme.errors import InvalidRequest, NotFound

GROUP, NAME = "qme.services", "dashboard"


def arguments(parser: Parser) -> None:
    """Where it listens, and whether it may change anything."""
    parser.add_argument(
        "--port", type=int, metavar="N", help="0 takes any free one (default: the setting, 5000)"
    )
    parser.add_argument("--host", metavar="ADDRESS", help="address to listen on (default: loopback)")
    parser.add_argument("--allow-actions", action="store_true", help="let it cancel, rerun and delete tasks")


def start(args: Arguments, context: Context) -> int:
    """Serve the dashboard until Ctrl-C; its address is printed to stderr."""
    found = [point for point in entry_points(group=GROUP) if point.name == NAME]
    if not found:
        raise NotFound("the dashboard is not installed here; it is the package qme-dashboard")
    given: dict[str, Any] = {}
    if args.port is not None:
        if not 0 <= args.port <= 65_535:
            raise InvalidRequest(f"--port {args.port}: 0 to 65535")
        given["dashboard_port"] = args.port
    if args.host is not None:
        given["dashboard_host"] = args.host
    if args.allow_actions:
        given["dashboard_actions"] = True
    return int(found[0].load()(replace(context.settings, **given)))


VERBS = {"start": Verb(arguments, start)}

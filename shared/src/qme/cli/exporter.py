"""`qme exporter`: metrics of the whole bus, for Prometheus."""

from __future__ import annotations

from qme.cli.context import Context
from qme.cli.parsing import Arguments, Parser
from qme.cli.verbs import Verb
from qme.errors import InvalidRequest

#: where nothing else is said
PORT = 9847


def arguments(parser: Parser) -> None:
    """Where it listens."""
    parser.add_argument(
        "--port",
        type=int,
        metavar="N",
        help=f"port of /metrics (default: the setting metrics_port, else {PORT})",
    )


def exporter(args: Arguments, context: Context) -> int:
    """Serve until told to stop."""
    from qme.exporter.service import run_exporter

    port = context.settings.metrics_port or PORT if args.port is None else args.port
    if not 1 <= port <= 65_535:
        raise InvalidRequest(f"--port {port}: 1 to 65535")
    run_exporter(context.settings, port)
    return 0


VERBS = {"exporter": Verb(arguments, exporter)}

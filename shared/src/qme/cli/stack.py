"""`qme up`, `down`, `status` and `worker`: the services of this machine. What keeps them alive is in `qme.local`."""

from __future__ import annotations

from qme.cli.context import Context, say
from qme.cli.parsing import Arguments, Parser
from qme.cli.patience import full_disk
from qme.cli.table import Table, span
from qme.cli.verbs import Verb
from qme.errors import BusUnavailable


def up_arguments(parser: Parser) -> None:
    """Whether to stay."""
    parser.add_argument("--detach", action="store_true", help="return once it serves, and leave it running")


async def up(args: Arguments, context: Context) -> int:
    """Start the local stack; without --detach show what happens to it until Ctrl-C, which stops it."""
    from qme.local import control

    await control.up(context.settings, detach=args.detach)
    return 0


def down_arguments(parser: Parser) -> None:
    """What becomes of the tasks that run."""
    fate = parser.add_mutually_exclusive_group()
    fate.add_argument(
        "--leave", action="store_true", help="let running commands run on; the next `up` finds them"
    )
    fate.add_argument("--cancel", action="store_true", help="end all tasks first")


async def down(args: Arguments, context: Context) -> int:
    """Stop the local stack; refuses while tasks run, unless told what shall become of them."""
    from qme.local import control

    if not await control.down(context.settings, leave=args.leave, cancel=args.cancel):
        say("there is no local stack running")
    return 0


def status_arguments(_: Parser) -> None:
    """None."""


def status(_: Arguments, context: Context) -> int:
    """Print the local stack's services; exit 5 when it does not serve."""
    from qme.local import control

    now = control.status(context.settings)
    if now.running:
        table = Table([("SERVICE", 16), ("STATE", 8), ("PID", 8), ("UP", 5), ("RESTARTS", 8), ("", 0)])
        for one in now.services:
            state = "offline" if one.pid is None else "online"
            table.row(one.name, state, str(one.pid or "-"), span(one.uptime), str(one.restarts), one.error)
        free = "" if now.disk_free is None else f", {now.disk_free >> 20} MiB free"
        say(f"{now.folder}: {now.url}, {now.disk_used >> 20} MiB used{free}")
    if full := full_disk(context.settings):
        say(full)
    if not now.serving:
        how = "is not ready" if now.running else "does not run; any command starts it"
        say(f"the local stack in {now.folder} {how}")
    return 0 if now.serving else BusUnavailable.exit_code


def worker_arguments(parser: Parser) -> None:
    """Which executor, and for whom."""
    parser.add_argument("name", metavar="EXECUTOR")
    parser.add_argument("--pool", metavar="NAME", help="serve a shared pool (default: your own)")
    parser.add_argument(
        "--user", metavar="NAME", action="append", default=[], help="may submit to it; * for all"
    )
    parser.add_argument("--drain", action="store_true", help="on the first signal wait for what runs")


def worker(args: Arguments, context: Context) -> int:
    """Run a worker until it is told to stop."""
    from qme.worker import run_worker

    run_worker(args.name, context.settings, pool=args.pool, users=tuple(args.user), drain=args.drain)
    return 0


VERBS = {
    "up": Verb(up_arguments, up),
    "down": Verb(down_arguments, down),
    "status": Verb(status_arguments, status),
    "worker": Verb(worker_arguments, worker),
}

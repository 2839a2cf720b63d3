"""`qme top`: executors and the newest tasks, drawn anew every few seconds until `q`. Tables are made elsewhere."""

from __future__ import annotations

import asyncio
import io
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from qme.cli import choosing, executors, show
from qme.cli.context import Context
from qme.cli.parsing import Arguments, Parser, seconds
from qme.cli.table import shortened
from qme.cli.verbs import Verb
from qme.client import AsyncClient
from qme.errors import BusUnavailable

_SCREEN, _BACK = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _END_OF_LINE, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


class _Frame(io.StringIO):
    """What is drawn at once; tables write into it as they would to the terminal."""

    def isatty(self) -> bool:
        return sys.stdout.isatty()


def arguments(parser: Parser) -> None:
    """Which tasks, and how often."""
    choosing.add(parser)
    parser.add_argument(
        "--every", metavar="TIME", type=seconds, default=2.0, help="look again so often (default 2s)"
    )
    parser.end_with("q ends it. Where the output is no terminal it is written once.")


async def top(args: Arguments, context: Context) -> int:
    """Show how things stand until a key ends it."""
    choosing.check(args)
    async with context.client() as client:
        if not sys.stdout.isatty():
            print(await _frame(client, args), end="")
            return 0
        with _screen() as ended:
            await _draw_on(client, args, ended)
    return 0


async def _draw_on(client: AsyncClient, args: Arguments, ended: asyncio.Event) -> None:
    while not ended.is_set():
        try:
            text = await _frame(client, args)
        except BusUnavailable as error:  # it will be back
            text = f"{error.message}\n"
        lines = text.split("\n")[: shutil.get_terminal_size().lines - 1]
        sys.stdout.write(_HOME + "".join(f"{line}{_END_OF_LINE}\r\n" for line in lines) + _BELOW)
        sys.stdout.flush()
        with suppress(TimeoutError):
            async with asyncio.timeout(args.every):
                await ended.wait()


async def _frame(client: AsyncClient, args: Arguments) -> str:
    frame = _Frame()
    executors.show(await client.executors(), frame)
    print(file=frame)
    room = max(shutil.get_terminal_size().lines - frame.getvalue().count("\n") - 3, 5)
    listing = await client.list(choosing.wanted(client, args), room)
    tasks = show.Tasks(is_shared=args.all_users, out=frame)
    for record in listing.records:
        tasks.row(record)
    for problem in listing.unreadable[:1]:
        print(shortened(problem, shutil.get_terminal_size().columns), file=frame)
    return frame.getvalue()


@contextmanager
def _screen() -> Iterator[asyncio.Event]:
    """Have a screen of its own, given back whatever happens; the event is set by the key `q`."""
    import termios
    import tty

    ended = asyncio.Event()
    loop, keys = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(keys) if sys.stdin.isatty() else None

    def read() -> None:
        if sys.stdin.read(1) in ("q", "Q", ""):
            ended.set()

    if before is not None:
        tty.setcbreak(keys)
        loop.add_reader(keys, read)
    sys.stdout.write(_SCREEN)
    try:
        yield ended
    finally:
        sys.stdout.write(_BACK)
        sys.stdout.flush()
        if before is not None:
            loop.remove_reader(keys)
            termios.tcsetattr(keys, termios.TCSADRAIN, before)


VERBS = {"top": Verb(arguments, top)}

"""`qme start` on a machine that has no time for it: from SIGUSR1 on its event loop stands still most of the time.

Run as a program, with the words of `qme` behind it. Nothing of the dashboard is another one; it only comes late.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time

from qme.cli import main as qme
from qme_dashboard.hub import Hub

#: seconds that the loop stands still, and seconds that it goes on between two of them
HELD, FREE = 0.5, 0.02


def _hold(loop: asyncio.AbstractEventLoop) -> None:
    time.sleep(HELD)
    loop.call_later(FREE, _hold, loop)


def main() -> None:
    """Start what the words name, and be late when told so."""
    begin = Hub.start

    def start(self: Hub) -> None:
        begin(self)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, _hold, loop)

    Hub.start = start  # type: ignore[method-assign]
    sys.exit(qme())


if __name__ == "__main__":
    main()

"""The embedded default: one NATS server, one submitter and the workers of this host, started by the first command.

`ensure` is on the path of every command, so this file and what it imports stay small; `qme.local.control` has
`up`, `down` and `status`. A reader starts at `stack` (a command's view), then `supervisor` (the background
process that keeps everything alive). No task is run and no record is written from this package.
"""

from qme.local.stack import Endpoint, ensure

__all__ = ["Endpoint", "ensure"]

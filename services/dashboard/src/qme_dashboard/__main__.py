"""``qme-dashboard``: the dashboard as a service of its own, with the settings that `qme config show` lists."""

from __future__ import annotations

import argparse
import sys

import qme
from qme.errors import QmeError
from qme.settings import load
from qme_dashboard.serving import serve


def main() -> None:
    """Serve the dashboard until SIGTERM or SIGINT. Exits with a QmeError's code where it can't."""
    parser = argparse.ArgumentParser(
        prog="qme-dashboard",
        description="Shows tasks and executors in a browser. `qme start` does the same with options.",
        epilog="Settings come from QME_* variables and the config file; `qme config show` lists them.",
    )
    parser.add_argument("--version", action="version", version=f"qme-dashboard {qme.__version__}")
    parser.parse_args()
    try:
        sys.exit(serve(load().settings))
    except QmeError as error:
        sys.stderr.write(f"qme-dashboard: {error.message}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()

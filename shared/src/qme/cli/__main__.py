"""``python -m qme.cli``: the same as the console script."""

import sys

from qme.cli import main

sys.exit(main())

"""How the browser is started, for tests and pictures."""

from __future__ import annotations

import shutil
from typing import Any

#: Debian's Chromium. As root it starts without its sandbox only; it is shown nothing but our own pages. Containers have
#: little shared memory.
CHROMIUM: dict[str, Any] = {
    "executable_path": shutil.which("chromium"),
    "args": ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
}

"""What about the place of a stack its user should know: a network file system, a stack on another host. Reads only."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from qme.local.layout import Layout
from qme.settings import Settings

#: seconds after which a supervisor that has not touched its state file counts as gone; it does so every minute
_SILENT = 180.0
_NETWORK = re.compile(
    r"(nfs4?|cifs|smb\w*|lustre|gpfs|beegfs\w*|ceph|fuse\.(ceph|sshfs|gluster)\w*|glusterfs|afs|pvfs2|panfs|wekafs|9p)\Z"
)


def notices(settings: Settings, mounts: Path = Path("/proc/self/mounts")) -> Iterator[str]:
    """Give a sentence for each thing that the user should know when a stack is started here."""
    root = settings.local_dir
    kind = file_system(root, mounts)
    if _NETWORK.match(kind):
        yield f"{root} lies on a network file system ({kind}); QME_LOCAL_DIR moves it to a local disk"
    for host in other_hosts(root):
        yield f"another local stack of yours runs on {host}; its tasks are not seen from here"


def file_system(path: Path, mounts: Path) -> str:
    """Name the type of file system that a path lies on; "" when it can't be told."""
    where = os.path.realpath(path)
    longest, kind = "", ""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        _, point, found, *_ = line.split(" ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point)
        inside = point == "/" or where == point or where.startswith(point + "/")
        if inside and len(point) >= len(longest):  # a later mount on the same point hides the earlier one
            longest, kind = point, found
    return kind


def other_hosts(root: Path) -> Iterator[str]:
    """Name the hosts with a live stack beside `root`, in a home that they share with us."""
    clock = root / "clock"
    try:
        clock.touch(mode=0o600)  # the file server's time, not ours
        now = clock.stat().st_mtime
        siblings = sorted(root.parent.iterdir())
    except OSError:
        return
    for folder in siblings:
        state = Layout(folder).state
        if folder == root:
            continue
        with suppress(OSError, ValueError):
            silent = now - state.stat().st_mtime > _SILENT
            if not silent and not json.loads(state.read_text(encoding="utf-8")).get("stopping"):
                yield folder.name

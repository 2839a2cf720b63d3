"""The embedded stack's credentials go to a server of our own account only, whoever else listens on its port."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contract.conftest import until

from qme.bus.connect import connect
from qme.errors import BusUnavailable
from qme.settings import Settings
from qme.testing.fixtures import own_nats_server  # noqa: F401 - a fixture
from qme.testing.nats import PASSWORD, USER, NatsServer

NOBODY = 65534
#: greets as NATS does, and writes down what it is sent: a line for each connection, a line for each piece
PROGRAM = """
import json, socket, sys, threading
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(listener.getsockname()[1], flush=True)
info = {"server_id": "X", "version": "2.12.0", "jetstream": True, "auth_required": True, "max_payload": 1 << 20}
def serve(talk):
    with open(sys.argv[2], "a", buffering=1) as notes:
        notes.write("came\\n")
        talk.sendall(b"INFO " + json.dumps(info).encode() + b"\\r\\n")
        while data := talk.recv(65536):
            notes.write(repr(data) + "\\n")
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


class Impostor:
    """A server of another account on a port (0: any), which takes notes."""

    def __init__(self, notes: Path, port: int, python: str) -> None:
        self._notes = notes
        notes.touch()
        notes.chmod(0o666)
        self.process = subprocess.Popen(
            [python, "-c", PROGRAM, str(port), notes.name],
            stdout=subprocess.PIPE,
            cwd=notes.parent,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    @property
    def notes(self) -> list[str]:
        """What it has written down."""
        return self._notes.read_text().splitlines()

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def impostor() -> Iterator[Callable[[int], Impostor]]:
    """Start impostors; they are ended with the test."""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if os.getuid() != 0 or python is None:
        pytest.skip("platform: only root can become another account, and it needs a Python that all may run")
    made: list[Impostor] = []
    # Not pytest's folder: other accounts may not enter that one.
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, check=True, text=True).stdout.strip())
    folder.chmod(0o755)

    def start(port: int) -> Impostor:
        made.append(Impostor(folder / f"notes-{len(made)}", port, python))
        return made[-1]

    yield start
    for one in made:
        one.end()
    shutil.rmtree(folder)


def credentials(path: Path, **mark: str) -> Path:
    """Write a credentials file, of the embedded stack where it is marked so."""
    path.touch(0o600)
    path.write_text(json.dumps({"user": USER, "password": PASSWORD, **mark}))
    return path


async def test_first_connection_gives_nothing_away(impostor: Callable[[int], Impostor], tmp_path: Path):
    """Another account's server is sent not a byte, and the error says who answered; an unmarked login goes out."""
    there = impostor(0)
    settings, url = Settings(connect_timeout=1.0), f"nats://127.0.0.1:{there.port}"
    own = credentials(tmp_path / "own", owner="self")
    with pytest.raises(BusUnavailable, match=r"local stack does not answer.*another account.*`qme status`"):
        await connect(settings, url=url, creds=own, name="test")
    await until(lambda: bool(there.notes))
    assert set(there.notes) == {"came"}
    with pytest.raises(BusUnavailable):
        await connect(settings, url=url, creds=credentials(tmp_path / "other"), name="test")
    assert PASSWORD in "".join(there.notes)  # so the notes would have told


@pytest.mark.nats
async def test_later_connections_give_nothing_away(
    own_nats_server: NatsServer,  # noqa: F811 - the fixture
    impostor: Callable[[int], Impostor],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    """With its port another's after kill -9, that one learns nothing, one warning comes, and ours is found again."""
    server = own_nats_server
    own = credentials(tmp_path / "own", owner="self")
    bus = await connect(Settings(publish_retry=1.0), url=server.url, creds=own, name="test")
    try:
        server.kill()
        there = impostor(server.port)
        await until(lambda: len(there.notes) >= 3, 15)
        assert not bus.connected
        assert set(there.notes) == {"came"}
        there.end()
        server.start()
        await until(lambda: bus.connected, 15)
        assert set(there.notes) == {"came"}
        assert len([one for one in caplog.records if "another account" in one.getMessage()]) == 1
    finally:
        await bus.close()

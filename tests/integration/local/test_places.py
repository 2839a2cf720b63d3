"""Where the stack may lie: private, of our own, writable, local; else one sentence that names the place."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from nats.errors import Error
from nats.js import JetStreamContext
from tests.integration.local.conftest import Local

from qme.errors import LocalStackError
from qme.local.control import down
from qme.local.layout import Layout, State, prepare, write_state
from qme.local.surroundings import file_system, notices
from qme.settings import Settings

OTHER = State(pid=1, start_time=1, boot_id="another's", started=1.0)


def modes(folder: Path) -> dict[str, int]:
    """Permissions of everything in a folder."""
    return {str(path.relative_to(folder)): path.lstat().st_mode & 0o777 for path in folder.rglob("*")}


async def test_nobody_else_can_read_any_of_it(local: Local) -> None:
    """Folders are 0700; the credentials, the configuration and all else beside the store are 0600."""
    old = os.umask(0)
    try:
        await local.start()
    finally:
        os.umask(old)
    assert local.settings.home.stat().st_mode & 0o777 == 0o700
    assert local.layout.root.stat().st_mode & 0o777 == 0o700
    store = str(local.layout.store.relative_to(local.layout.root))
    found = modes(local.layout.root)
    own = {name: mode for name, mode in found.items() if not name.startswith(store + "/")}
    folders = {"log", "nats"}
    assert {name: oct(mode) for name, mode in own.items()} == {
        name: oct(0o700 if name in folders else 0o600) for name in own
    }
    assert {"nats.creds", "nats-server.conf", "state.json", "plan", "log/nats-server.log"} <= own.keys()


async def test_credentials_that_others_could_read_are_replaced(local: Local) -> None:
    """They are made anew, at another address, when the server is started the next time."""
    endpoint = await local.start()
    secret = endpoint.creds.read_text()
    await down(local.settings, leave=True, say=local.said.append)
    endpoint.creds.chmod(0o644)
    assert (await local.start()).url != endpoint.url
    assert endpoint.creds.read_text() != secret
    assert endpoint.creds.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "name",
    ["x/" * 150 + "deep", 'a "quoted" $HOME \\ {brace} # mark', "naïve/ü/日本", "-c"],
    ids=["long", "punctuation", "unicode", "dash"],
)
async def test_unusual_paths(make: Callable[..., Local], tmp_path: Path, name: str) -> None:
    """The stack starts, is found again and ends wherever it lies."""
    local = make(home=tmp_path / name, local_dir=tmp_path / name / "local" / "here")
    endpoint = await local.start()
    assert await local.start() == endpoint
    assert (local.layout.store / "jetstream").is_dir()
    assert await down(local.settings, leave=True, say=local.said.append)


@pytest.mark.parametrize("letter", ["\n", "\x01", "\x7f", "\udcff"])
async def test_paths_that_no_configuration_can_spell(
    make: Callable[..., Local], tmp_path: Path, letter: str
) -> None:
    """They are refused in one printable line, before anything is made there."""
    home = tmp_path / f"a{letter}b"
    local = make(home=home, local_dir=home / "local" / "here")
    with pytest.raises(LocalStackError, match="control characters") as caught:
        await local.start()
    assert caught.value.message.isprintable()
    assert not home.exists()


async def test_home_that_is_a_file(make: Callable[..., Local], tmp_path: Path) -> None:
    """It is named, with the setting that moves it."""
    home = tmp_path / "file"
    home.write_text("")
    local = make(home=home, local_dir=home / "local" / "here")
    with pytest.raises(LocalStackError, match=f"{home}: not a directory; set QME_HOME"):
        await local.start()


@pytest.mark.parametrize(
    ("options", "says"),
    [("size=4m,ro", "read-only"), ("size=4m", "less than 32 MiB are free"), ("nr_inodes=2", "no space left")],
)
async def test_file_system_that_can_not_be_used(
    mount: Callable[[str], Path], make: Callable[..., Local], options: str, says: str
) -> None:
    """Read-only, too small, full: said before anything is started."""
    home = mount(options) / "home"
    local = make(home=home, local_dir=home / "local" / "here")
    with pytest.raises(LocalStackError, match=f"{home.parent}.*{says}"):
        await local.start()
    assert not local.layout.plan.exists()


async def stored(stream: JetStreamContext) -> bool:
    """Tell whether the server takes a message, larger than what may be left of a block on the disk."""
    try:
        await stream.publish("kept", b"x" * 10_000)
    except Error:
        return False
    return True


async def test_disk_that_was_full_for_a_while(
    mount: Callable[[str], Path], make: Callable[..., Local]
) -> None:
    """Once there is room again the server takes messages again, which it would not do by itself."""
    place = mount("size=48m")
    local = make(home=place / "home", local_dir=place / "home" / "local" / "here")
    await local.start()
    stream = (await local.connect()).jetstream(timeout=1)
    await stream.add_stream(name="KEPT", subjects=["kept"])
    await stream.publish("kept", b"before")
    with (place / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(b"x" * 65536):
            pass
    assert not await stored(stream)
    (place / "filler").unlink()
    async with asyncio.timeout(20):
        while not await stored(stream):
            continue
    assert (await stream.get_msg("KEPT", 1)).data == b"before"
    assert "was full" in local.state.services[0].error


def test_home_of_somebody_else(tmp_path: Path) -> None:
    """Its owner is named: what root left in a user's home would lock that user out."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give a folder away")
    os.chown(tmp_path, 1, 1)
    settings = Settings(home=tmp_path, host="here")
    with pytest.raises(LocalStackError, match=f"{tmp_path} belongs to daemon; set QME_HOME"):
        prepare(Layout(settings.local_dir), settings.home)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/home/ann/.qme", "nfs4"), ("/homes", "ext4"), ("/home/loc al/x", "xfs"), ("/scratch/ann", "lustre")],
)
def test_file_system_of_a_path(tmp_path: Path, path: str, kind: str) -> None:
    """The mount that is nearest above a path counts, the later one of two on the same point."""
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda1 / ext4 rw 0 0\n"
        "server:/home /home nfs4 rw 0 0\n"
        "/dev/sdb1 /home/loc\\040al xfs rw 0 0\n"
        "/dev/sdc1 /scratch ext4 rw 0 0\n"
        "mds@tcp:/scratch /scratch lustre rw 0 0\n"
    )
    assert file_system(Path(path), mounts) == kind


def test_network_file_system_and_other_hosts_are_named(tmp_path: Path) -> None:
    """A start tells of both, but not of stacks that have ended or been silent for long."""
    settings = Settings(home=tmp_path, host="login1")
    for host in ("login1", "login2", "ended", "silent"):
        layout = Layout(tmp_path / "local" / host)
        prepare(layout, tmp_path)
        stopping = host == "ended"
        write_state(layout, State(OTHER.pid, OTHER.start_time, OTHER.boot_id, OTHER.started, "", stopping))
        if host == "silent":
            os.utime(layout.state, (1, 1))
    (tmp_path / "local" / "not-a-stack").write_text("")
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/home {tmp_path} nfs rw 0 0\n")
    told = list(notices(settings, mounts))
    assert told == [
        f"{tmp_path}/local/login1 lies on a network file system (nfs); QME_LOCAL_DIR moves it to a local disk",
        "another local stack of yours runs on login2; its tasks are not seen from here",
    ]

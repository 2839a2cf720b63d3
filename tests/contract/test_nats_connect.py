"""Connecting to a real NATS server: credentials, and servers that can't be used."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qme.bus.connect import connect, read_credentials
from qme.errors import BusUnavailable, NotPermitted, SettingsError
from qme.settings import Settings
from qme.testing.nats import NatsServer

SEED = "SU" + "A" * 56
CREDS = f"""-----BEGIN NATS USER JWT-----
eyJ0eXAiOiJKV1QifQ.e30.c2ln
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
{SEED}
------END USER NKEY SEED------
"""


def secret(path: Path, text: str, mode: int = 0o600) -> Path:
    """Write a credentials file."""
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.nats
async def test_the_credentials_name_the_user(nats_server: NatsServer, tmp_path: Path):
    """JSON with user and password; the setting counts only where the file has no name."""
    bus = await connect(Settings(user="setting"), url=nats_server.url, creds=nats_server.creds, name="test")
    assert (bus.user, bus.connected) == ("admin", True)
    await bus.close()


@pytest.mark.nats
async def test_url_and_credentials_come_from_the_settings(nats_server: NatsServer):
    """Without arguments; white space between several servers is fine, and one that is down is passed over."""
    settings = Settings(nats_url=f"{nats_server.url}, nats://127.0.0.1:1", nats_creds=nats_server.creds)
    bus = await connect(settings, name="test")
    assert bus.connected
    await bus.close()


@pytest.mark.nats
async def test_wrong_credentials_are_refused_at_once(nats_server: NatsServer, tmp_path: Path):
    """NotPermitted, with the server but without the password."""
    creds = secret(tmp_path / "c", json.dumps({"user": "admin", "password": "hunter2"}))
    begun = time.monotonic()
    with pytest.raises(NotPermitted, match=r"127\.0\.0\.1") as caught:
        await connect(Settings(), url=nats_server.url, creds=creds, name="test")
    assert time.monotonic() - begun < 2
    assert "hunter2" not in caught.value.message


async def test_a_server_that_is_not_there_is_named_without_its_password():
    """BusUnavailable within a moment, since nothing listens."""
    begun = time.monotonic()
    with pytest.raises(BusUnavailable, match="localhost:1") as caught:
        await connect(Settings(), url="nats://ann:hunter2@localhost:1", name="test")
    assert time.monotonic() - begun < 2
    assert "hunter2" not in caught.value.message


async def test_a_server_that_says_nothing_is_given_up_after_the_timeout():
    """connect_timeout bounds the whole try."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        begun = time.monotonic()
        with pytest.raises(BusUnavailable):
            await connect(Settings(connect_timeout=0.5), url=f"nats://127.0.0.1:{port}", name="test")
        assert 0.4 < time.monotonic() - begun < 2


async def test_a_server_that_is_too_old_is_refused_with_its_version():
    """Older ones ignore times to live without a word."""
    async with await asyncio.start_server(old_server, "127.0.0.1", 0) as old:
        port = old.sockets[0].getsockname()[1]
        with pytest.raises(BusUnavailable, match=r"2\.9 is too old, qme needs 2\.11"):
            await connect(Settings(), url=f"nats://127.0.0.1:{port}", name="test")


async def old_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak as much NATS as a client needs to see the version."""
    info = {"version": "2.9.10", "jetstream": True, "headers": True, "max_payload": 1 << 20, "proto": 1}
    writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
    while line := await reader.readline():
        if line == b"PING\r\n":
            writer.write(b"PONG\r\n")
    writer.close()


@pytest.mark.nats
async def test_a_server_without_jetstream_is_refused_with_what_to_do(tmp_path: Path):
    """It could store nothing."""
    refused = pytest.raises(BusUnavailable, match="without JetStream")
    with NatsServer(tmp_path / "nats", jetstream=False) as server, refused:
        await connect(Settings(), url=server.url, creds=server.creds, name="test")


async def test_no_url_at_all_is_told(tmp_path: Path):
    """Instead of a guess."""
    with pytest.raises(BusUnavailable, match="QME_NATS_URL"):
        await connect(Settings(), name="test")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_credentials_that_others_may_read_are_refused(tmp_path: Path, mode: int):
    """The sentence says what to do."""
    creds = secret(tmp_path / "c", '{"user": "a", "password": "b"}', mode)
    with pytest.raises(SettingsError, match="chmod 600"):
        read_credentials(creds)


def test_the_forms_of_credentials_are_told_apart(tmp_path: Path):
    """By content, not by name."""
    password = read_credentials(
        secret(tmp_path / "a", '\n{"user": "Jane Doe", "password": "p", "note": 1}\n')
    )
    assert (password.user, password.login) == ("Jane Doe", {"user": "Jane Doe", "password": "p"})
    seed = read_credentials(secret(tmp_path / "b", SEED + "\n"))
    assert (seed.user, seed.login) == (None, {"nkeys_seed_str": SEED})
    named = read_credentials(secret(tmp_path / "d", json.dumps({"user": "jane", "seed": SEED})))
    assert (named.user, named.login) == ("jane", {"nkeys_seed_str": SEED})
    creds = read_credentials(secret(tmp_path / "c", CREDS))
    assert (creds.user, creds.login) == (None, {"user_credentials": str(tmp_path / "c")})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        '{"user": "a"}',
        '{"user": 1, "password": "b"}',
        "{",
        "[1]",
        "SUAB",
        '{"user": "", "password": ""}',
        '{"user": "a", "seed": "secret"}',
        '{"user": "a", "seed": 1}',
    ],
)
def test_what_is_no_credentials_file_is_refused_without_its_content(tmp_path: Path, text: str):
    """The path is named, the content is not shown."""
    with pytest.raises(SettingsError) as caught:
        read_credentials(secret(tmp_path / "broken", text))
    assert str(tmp_path / "broken") in caught.value.message
    assert "secret" not in caught.value.message


def test_a_missing_credentials_file_is_a_wrong_setting(tmp_path: Path):
    """Not a traceback."""
    with pytest.raises(SettingsError, match="can't be read"):
        read_credentials(tmp_path / "missing")


def test_credentials_do_not_show_themselves(tmp_path: Path):
    """A repr in a log line holds no password."""
    creds = secret(tmp_path / "c", '{"user": "a", "password": "hunter2"}')
    assert "hunter2" not in repr(read_credentials(creds))


def test_the_port_and_the_twin_do_without_nats():
    """What is written against the port does not wait for NATS to be imported."""
    code = "import sys, qme.bus.port, qme.bus.kv, qme.bus.connect, qme.bus.memory; sys.exit('nats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""TLS with certificates of a made-up authority: who is believed, and what is said when somebody is not."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from qme.bus import expiry
from qme.bus.connect import connect
from qme.errors import BusUnavailable, SettingsError
from qme.settings import Settings
from qme.testing.nats import NatsServer

pytestmark = [pytest.mark.nats, pytest.mark.timeout(300)]


class Authority:
    """Signs certificates, by openssl."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.certificate, self._key = folder / "ca.pem", folder / "ca.key"
        _openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=made up",
            "-keyout", str(self._key), "-out", str(self.certificate),
        )  # fmt: skip

    def sign(self, name: str, names: str) -> tuple[Path, Path]:
        """Give certificate and key for a subject with alternative names."""
        pem, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        _openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
            "-addext", f"subjectAltName={names}", "-addext", "basicConstraints=critical,CA:FALSE",
            "-CA", str(self.certificate), "-CAkey", str(self._key), "-keyout", str(key), "-out", str(pem),
        )  # fmt: skip
        key.chmod(0o600)
        return pem, key


def _openssl(*words: str) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no openssl: apt-get install openssl")
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that a site's people trust."""
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[NatsServer]:
    """A server whose certificate names localhost."""
    with _server(tmp_path_factory.mktemp("secure"), *authority.sign("server", "DNS:localhost")) as server:
        yield server


def _server(folder: Path, certificate: Path, key: Path, more: str = "") -> NatsServer:
    return NatsServer(folder, extra=f'tls {{ cert_file: "{certificate}", key_file: "{key}" {more} }}')


def _at(server: NatsServer, host: str, scheme: str = "tls") -> str:
    return f"{scheme}://{host}:{server.port}"


@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_a_server_that_our_authority_vouches_for_is_used(
    secure: NatsServer, authority: Authority, scheme: str
):
    """By its name, whatever the URL's scheme: the server asks for TLS."""
    settings = Settings(nats_ca=authority.certificate)
    bus = await connect(settings, url=_at(secure, "localhost", scheme), creds=secure.creds, name="test")
    assert bus.connected
    await bus.close()


async def test_another_name_than_the_certificates_is_refused(secure: NatsServer, authority: Authority):
    """The certificate is good, and another machine's."""
    settings = Settings(nats_ca=authority.certificate)
    with pytest.raises(BusUnavailable, match=r"IP address mismatch.*QME_NATS_URL") as caught:
        await connect(settings, url=_at(secure, "127.0.0.1"), creds=secure.creds, name="test")
    assert "certificate is not good for us" in caught.value.message


async def test_a_certificate_of_an_unknown_authority_is_refused(secure: NatsServer, tmp_path: Path):
    """Neither the system's authorities nor a stranger vouch for it."""
    stranger = Authority(tmp_path / "stranger")
    for settings in (Settings(), Settings(nats_ca=stranger.certificate)):
        with pytest.raises(BusUnavailable, match="QME_NATS_CA"):
            await connect(settings, url=_at(secure, "localhost"), creds=secure.creds, name="test")


async def test_a_server_without_tls_is_sent_nothing_where_tls_was_asked_for(
    nats_server: NatsServer, authority: Authority
):
    """Whoever stands in between can't talk us out of it: by the URL, or by naming an authority."""
    for scheme, settings in (("tls", Settings()), ("nats", Settings(nats_ca=authority.certificate))):
        with pytest.raises(BusUnavailable, match="offers no TLS"):
            await connect(
                settings, url=_at(nats_server, "127.0.0.1", scheme), creds=nats_server.creds, name="t"
            )


async def test_a_server_that_wants_our_certificate_gets_it(authority: Authority, tmp_path: Path):
    """With it we are let in, without it the sentence names the settings."""
    certificate, key = authority.sign("client", "DNS:laptop")
    more = f', ca_file: "{authority.certificate}", verify: true'
    with _server(tmp_path / "nats", *authority.sign("strict", "DNS:localhost"), more) as server:
        url = _at(server, "localhost")
        ours = Settings(nats_ca=authority.certificate, nats_cert=certificate, nats_key=key)
        bus = await connect(ours, url=url, creds=server.creds, name="test")
        assert bus.connected
        await bus.close()
        with pytest.raises(BusUnavailable, match="QME_NATS_CERT"):
            await connect(Settings(nats_ca=authority.certificate), url=url, creds=server.creds, name="test")


async def test_ends_are_told_before_they_come(secure: NatsServer, authority: Authority, tmp_path: Path):
    """Of the server's certificate, ours, the authority's and a JWT; a service logs them, nothing else is sent."""
    certificate, key = authority.sign("ending", "DNS:laptop")
    claims = base64.urlsafe_b64encode(json.dumps({"exp": 1_900_000_000}).encode()).decode().rstrip("=")
    jwt = tmp_path / "ann.creds"
    jwt.write_text(f"-----BEGIN NATS USER JWT-----\nh.{claims}.s\n------END NATS USER JWT------\n")
    settings = Settings(
        nats_url=f"{_at(secure, 'localhost')},nats://127.0.0.1:1,wss://localhost:443",
        nats_ca=authority.certificate,
        nats_cert=certificate,
        nats_key=key,
        nats_creds=jwt,
    )
    found = {end.what: end for end in await expiry.ends(settings)}
    in_two_days = datetime.now(UTC) + timedelta(days=2)
    for what in (
        f"certificate in {certificate}",
        f"authorities in {authority.certificate}",
        "certificate of the server localhost",
    ):
        at = found.pop(what).at
        assert at is not None
        assert abs((at - in_two_days).total_seconds()) < 1800
    assert found == {f"key in {jwt}": expiry.End(f"key in {jwt}", datetime.fromtimestamp(1_900_000_000, UTC))}
    assert await expiry.ends(Settings(nats_url="tls://localhost:1", nats_ca=tmp_path / "none")) == []
    by_hand = tmp_path / "by-hand.creds"
    by_hand.write_text('{"ends": "2030-01-01"}')  # without a zone: it must not end whoever looks
    assert [
        end.within(60.0, datetime.now(UTC)) for end in await expiry.ends(Settings(nats_creds=by_hand))
    ] == [False]

    with structlog.testing.capture_logs() as logs:
        watching = asyncio.create_task(expiry.watch(settings))
        async with asyncio.timeout(30):
            while len(logs) < 3:  # noqa: ASYNC110 -- a log rings no bell
                await asyncio.sleep(0.05)
        watching.cancel()
    assert {line["event"] for line in logs} == {"credentials.end"}


async def test_files_that_hold_no_certificates_are_named(authority: Authority, tmp_path: Path):
    """Each by its setting; a key that others may read is refused."""
    junk = tmp_path / "junk.pem"
    junk.write_text(json.dumps({"secret": 1}))
    junk.chmod(0o600)
    certificate, key = authority.sign("other", "DNS:x")
    for settings, words in (
        (Settings(nats_ca=junk), "nats_ca"),
        (Settings(nats_ca=tmp_path / "none"), "nats_ca"),
        (Settings(nats_cert=junk), "nats_cert"),
        (Settings(nats_key=key), "without nats_cert"),
    ):
        with pytest.raises(SettingsError, match=words):
            await connect(settings, url="tls://localhost:1", name="test")
    key.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        await connect(Settings(nats_cert=certificate, nats_key=key), url="tls://localhost:1", name="test")

"""`qme auth`: keys come and go while everybody else's connection stands; what would be somebody else is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nats
import pytest
from tests.security.site import ANSWER, LAB, Probe, Site, until

from qme.auth.book import Book
from qme.bus import topology
from qme.bus.connect import read_credentials
from qme.bus.jetstream import JetStreamBus
from qme.cli import main
from qme.contracts.rights import Place, Role
from qme.errors import InvalidRequest, NotFound
from qme.settings import Settings
from qme.testing.nats import program

pytestmark = [pytest.mark.nats, pytest.mark.timeout(300)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A server that knows a submitter and two people."""
    site = Site(tmp_path)
    site.add(Role.SUBMITTER, "site")
    site.add(Role.USER, "ann")
    site.add(Role.USER, "bob")
    with site.server:
        yield site


async def _lets_in(site: Site, who: str) -> bool:
    try:
        probe = await Probe.open(site, who)
    except (nats.errors.Error, OSError):
        return False
    await probe.client.close()
    return True


async def test_a_key_is_renewed_without_anybody_being_cut_off(site: Site):
    """Old and new are good side by side; at the revocation the old one's connection ends, and no other."""
    submitter, ann, bob = [await Probe.open(site, who) for who in ("submitter:site", "user:ann", "user:bob")]
    bus = await JetStreamBus.open(
        [site.server.url],
        read_credentials(site.creds["submitter:site"]).login,
        user="site",
        name="test",
        connect_timeout=10,
        publish_retry=10,
    )
    await bus.ensure(topology.streams(Settings(home=site.folder)))
    old = site.creds["user:ann"]
    site.add(Role.USER, "ann")
    await site.reload()
    renewed = await Probe.open(site, "user:ann")
    assert not ann.client.is_closed
    (gone,) = site.book.revoke("qme", "ann", old=True)
    await site.reload()
    await until(lambda: ann.client.is_closed, "the old key's connection is closed")
    assert [one.client.is_closed for one in (submitter, bob, renewed)] == [False] * 3
    reading = "$JS.API.STREAM.INFO.KV_qme_tasks"
    assert await renewed.may_publish(reading, b"")
    assert await bob.may_publish(reading, b"")
    site.creds["user:ann"] = old
    assert not await _lets_in(site, "user:ann")
    assert gone.key.lower().endswith(old.stem[-8:])
    await bus.close()
    for one in (submitter, bob, renewed):
        await one.client.close()


async def test_a_pool_that_is_added_later_works_after_a_reload(site: Site):
    """Accounts, exports and imports come along, without a restart, for connections that are there already.

    By the second reload: the server forgets what a new account imports until it looks again.
    """
    ann = await Probe.open(site, "user:ann")
    assert not await ann.may_publish("$KV.qme_tasks.shell.lab.x", b"{}", answered=False)
    site.add(Role.WORKER, "lab", LAB)
    await site.reload()
    lab = await Probe.open(site, "worker:lab")
    await lab.serve("qme.action.*.shell.lab.w1")
    answer = await ann.client.request("qme.action.ann.shell.lab.w1", b"{}", timeout=ANSWER)
    assert answer.data == b"here"
    await site.reload()  # what the new account says to the streams' arrives from the second reload on
    assert await lab.may_publish("$JS.API.STREAM.INFO.KV_qme_tasks", b"")
    for one in (ann, lab):
        await one.client.close()


def test_files_are_private_and_hold_what_they_must(tmp_path: Path):
    """The key's file is its owner's alone; the server's and the book have public keys only."""
    book = Book(tmp_path / "auth")
    book.start()
    path = book.add("qme", Role.USER, "Jane Döe")
    found = json.loads(path.read_text())
    assert (found["user"], path.stat().st_mode & 0o777) == ("Jane Döe", 0o600)
    assert read_credentials(path).user == "Jane Döe"
    (entry,) = book.entries()
    for file in (book.include, book.folder / "identities.json"):
        text = file.read_text()
        assert entry.key in text
        assert found["seed"] not in text
        assert file.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="platform: only root can give files away")
def test_what_root_changes_stays_the_servers(tmp_path: Path):
    """The folder's owner, as whom the server runs, can read what an administrator has changed."""
    book = Book(tmp_path / "auth")
    book.start()
    os.chown(book.folder, 12345, 12346)
    key = book.add("qme", Role.USER, "ann")
    owners = {path.name: path.stat().st_uid for path in (book.include, book.folder / "identities.json", key)}
    assert owners == {"qme-auth.conf": 12345, "identities.json": 12345, key.name: 0}


def test_beginning_again_keeps_who_is_there_and_renews_the_servers_file(tmp_path: Path):
    """After an upgrade `init` writes the rights of this version for the identities there are."""
    book = Book(tmp_path / "auth")
    book.start()
    book.add("qme", Role.USER, "ann")
    entries, text = book.entries(), book.include.read_text()
    book.include.write_text("# as an older version wrote it\n")
    book.start()
    assert (book.entries(), book.include.read_text()) == (entries, text)


def test_the_server_takes_the_line_that_init_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """NATS reads paths of includes as relative ones, whatever they begin with."""
    assert main(["auth", "init", "--dir", str(tmp_path / "auth")]) == 0
    (line,) = re.findall(r'include "[^"]+"', capsys.readouterr().err)
    configuration = tmp_path / "server.conf"
    configuration.write_text(line + "\n")
    checked = subprocess.run(
        [program(), "-t", "-c", str(configuration)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("role", "name", "place", "words"),
    [
        (Role.USER, "dash-x", None, "dash-"),
        (Role.DASHBOARD, "main", None, "dash-"),
        (Role.USER, " ", None, "can't be a name"),
        (Role.USER, "ann", LAB, "nobody else"),
        (Role.WORKER, "ann", None, "--executor"),
        (Role.WORKER, "ann", Place("shell", "u-bob"), "another person's own"),
        (Role.WORKER, "x", Place("Shell.>", "lab"), "executor's name"),
        (Role.WORKER, "x", Place("shell_lab", "b"), "share its queue"),
    ],
)
def test_who_would_be_somebody_else_is_refused(
    tmp_path: Path, role: Role, name: str, place: Place | None, words: str
):
    """By name, by pool, or by the name of a queue."""
    book = Book(tmp_path / "auth")
    book.start()
    book.add("qme", Role.WORKER, "theirs", ("shell", "lab_b"))
    with pytest.raises(InvalidRequest, match=words):
        book.add("qme", role, name, (place.executor, place.pool) if place else None)
    assert len(book.entries()) == 1


async def test_a_key_that_ends(site: Site, capsys: pytest.CaptureFixture[str]):
    """It is shown with its end, warned of before it, and let in until `expire` and a reload; then it is not."""
    folder = str(site.book.folder)
    site.creds["user:eve"] = site.book.add("qme", Role.USER, "eve", lasts=86_400)
    await site.reload()
    assert main(["auth", "show", "--dir", folder]) == 0
    shown = capsys.readouterr()
    ends = json.loads(site.creds["user:eve"].read_text())["ends"]
    assert ends in shown.out
    assert re.search(r"key \w{8} of user eve: ends \S+ \S+ UTC, in 24 h", shown.err)
    assert read_credentials(site.creds["user:eve"]).user == "eve"
    assert await _lets_in(site, "user:eve")
    assert site.book.expire() == []

    book = site.book.folder / "identities.json"
    book.write_text(book.read_text().replace(ends, "2026-01-01T00:00:00+00:00"))
    assert main(["auth", "expire", "--dir", folder]) == 0
    assert capsys.readouterr().out.startswith("qme user eve ")
    await site.reload()
    assert not await _lets_in(site, "user:eve")
    assert await _lets_in(site, "user:ann")


def test_revoking_nothing_is_told(tmp_path: Path):
    """A name that is not there, or a key that is another's."""
    book = Book(tmp_path / "auth")
    book.start()
    book.add("qme", Role.USER, "ann")
    for name, key in (("bob", None), ("ann", "zzzz"), ("ann", "")):
        with pytest.raises(NotFound, match="auth show"):
            book.revoke("qme", name, key=key)
    with pytest.raises(NotFound):
        book.revoke("qme", "ann", old=True)
    assert len(book.entries()) == 1

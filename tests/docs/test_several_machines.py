"""Follows docs/several-machines.md command by command: a real NATS server, submitters and workers, two machines.

A block of the page says on its first line where it runs, as ACCOUNT@MACHINE. A machine is a name (QME_HOST) and a site
config; an account on it is a home. What the page leaves to its reader, address and disk, is replaced.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from qme.testing.nats import program

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/several-machines.md"
FENCE = re.compile(r"^```(\w+) ([^\n]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACEHOLDER = "127.0.0.1:4222"
#: seconds that a block may take, and a service to become ready or to end
BLOCK, PATIENCE = 40, 20

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(180)]


class Block(NamedTuple):
    """A fenced block of the page."""

    language: str
    places: str  #: what follows the language on its first line
    text: str


class Ran(NamedTuple):
    """What a block printed."""

    place: str
    text: str
    out: str


class Site:
    """The machines of the page, below one folder."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.folder = folder
        self._services: list[int] = []  # pidfds: no number that another process could get meanwhile

    def home(self, place: str) -> Path:
        """The home of ACCOUNT@MACHINE."""
        account, machine = place.split("@")
        home = self.folder / machine / account
        home.mkdir(parents=True, exist_ok=True)
        return home

    def run(self, place: str, text: str, *, code: int = 0) -> str:
        """Run commands in a shell of that account, from a copy of the project's deploy folder; give what they print."""
        machine, home = place.split("@")[1], self.home(place)
        beside = [str(Path(sys.executable).parent), str(Path(program()).parent), os.environ["PATH"]]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("QME_", "NATS_"))}
        env = kept | {
            "HOME": str(home),
            "PATH": os.pathsep.join(beside),
            "QME_HOME": str(home / ".qme"),
            "QME_HOST": machine,
            "QME_SITE_CONFIG": str(self.folder / machine / "config"),
            "QME_LOG_FORMAT": "json",
        }
        here = home / "here"  # each account has its own folders, so that none of them is on two machines
        here.mkdir(exist_ok=True)
        (here / "deploy").unlink(missing_ok=True)
        (here / "deploy").symlink_to(ROOT / "deploy")
        out, pids = home / "out", home / "pids"
        pids.unlink(missing_ok=True)
        script = f"set -e; trap 'jobs -p > {pids}' EXIT\n{text.replace(PLACEHOLDER, self.address)}"
        with out.open("wb") as file:
            done = subprocess.run(
                ["bash", "-c", script],
                cwd=here,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                timeout=BLOCK,
                check=False,
            )
        self._services += [os.pidfd_open(int(pid)) for pid in pids.read_text().split()]
        printed = out.read_text(errors="replace")
        assert done.returncode == code, f"{place}: {text}\n{printed}\n{self._logs()}"
        return printed

    def write(self, path: str, text: str) -> None:
        """Write the site config /etc/qme/config@MACHINE."""
        machine = path.removeprefix("/etc/qme/config@")
        (self.folder / machine / "config").write_text(text.replace(PLACEHOLDER, self.address))

    def edit_server(self) -> None:
        """Do with the sample what the page tells its reader to do."""
        config = self.home("site@cluster") / "nats.conf"
        assert config.stat().st_mode & 0o777 == 0o600
        text = config.read_text()
        for placeholder, own in ((PLACEHOLDER, self.address), ("/var/lib/qme-nats", f"{self.folder}/store")):
            assert text.count(f'"{placeholder}"') == 1
            text = text.replace(placeholder, own)
        config.write_text(text)

    def until(self, place: str, log: str, event: str) -> None:
        """Wait until a service has logged an event."""
        path, deadline = self.home(place) / log, time.monotonic() + PATIENCE
        while not (path.exists() and event in path.read_text()):
            assert time.monotonic() < deadline, f"no {event} in {log}: {self._logs()}"
            time.sleep(0.05)

    def stop(self) -> None:
        """End the services, the last one started first; none of them may need a KILL."""
        late = [self.stop_last() for _ in list(self._services)]
        assert not any(late), self._logs()

    def stop_last(self) -> bool:
        """End the service that was started last, and tell whether it took a KILL."""
        service = self._services.pop()
        if not select.select([service], [], [], 0)[0]:
            signal.pidfd_send_signal(service, signal.SIGTERM)
        late = not select.select([service], [], [], PATIENCE)[0]
        if late:
            signal.pidfd_send_signal(service, signal.SIGKILL)
        os.close(service)
        return late

    def _logs(self) -> str:
        return "\n".join(f"{path}: {path.read_text()[-1500:]}" for path in self.folder.glob("*/*/*.log"))


def blocks() -> list[Block]:
    """The blocks of the page, in order."""
    return [Block(*found) for found in FENCE.findall(PAGE.read_text())]


#: what a service logs once it works, by its log
READY = {
    "nats.log": "Server is ready",
    "submitter-1.log": "submitter.ready",
    "submitter-2.log": "submitter.ready",
    "worker.log": "presence.advertised",
    "lab.log": "presence.advertised",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site of the page, ended with every process in it."""
    one = Site(tmp_path_factory.mktemp("site"))
    try:
        yield one
    finally:
        one.stop()


@pytest.fixture(scope="module")
def followed(site: Site) -> list[Ran]:
    """The page, followed from top to bottom."""
    ran: list[Ran] = []
    for language, places, text in blocks():
        if language == "ini":
            site.write(places, text)
            continue
        for place in places.split():
            ran.append(Ran(place, text, site.run(place, text)))
            for log in re.findall(r"2>> ~/(\S+)", text):
                site.until(place, log, READY[log])
        if "install -m 0600" in text:
            site.edit_server()
    return ran


def printed(followed: list[Ran], words: str) -> str:
    """What the block with these words printed."""
    return next(ran.out for ran in followed if words in ran.text)


def test_every_block_of_the_page_says_where_it_runs() -> None:
    """No fenced block escapes the test, and none of the page's commands are written another way."""
    page = PAGE.read_text()
    assert page.count("```") == 2 * len(blocks())
    assert not re.search(r"^ {4}\S", page, re.MULTILINE)
    assert {place for block in blocks() for place in block.places.split()} == {
        "site@cluster",
        "ann@cluster",
        "ann@laptop",
        "/etc/qme/config@cluster",
    }


def test_a_shared_pool_waits_for_its_approval(followed: list[Ran], site: Site) -> None:
    """Before it, the pool is shown as waiting; after it, Ann's commands go there when she asks for it."""
    out = printed(followed, "executors approve")
    assert re.search(r"^shell\s+lab\s+waiting for approval", out, re.MULTILINE)
    assert "shell is approved as it stands now" in out
    out = printed(followed, "qme doctor")
    assert re.search(r"^shell\s+lab\s+online", out, re.MULTILINE)
    assert re.search(r"^bus\s+ok\s+connected as ann", out, re.MULTILINE)
    assert out.count("\nhello\n") + out.endswith("hello\n") >= 2
    greetings = [
        one for one in json.loads(site.run("ann@laptop", "qme ls --json")) if "hello" in one["command"]
    ]
    assert [one["pool"] for one in greetings] == ["lab", "u-ann"]


def test_ones_own_worker_serves_the_name_on_the_bus(followed: list[Ran], site: Site) -> None:
    """Its pool is that of the credentials' user, whatever the account is called, and runs on the other machine."""
    workers = site.run("ann@laptop", "qme executors shell")
    assert re.search(r"^shell\s+u-ann\s+\S+\s+cluster\s+0/2\s.*\sonline$", workers, re.MULTILINE)
    assert '"pool": "u-ann"' in site.run("ann@laptop", "qme get $(qme submit true)")


def test_files_input_and_folders_reach_the_other_machine(followed: list[Ran], site: Site) -> None:
    """A sent script runs on sent numbers, stdin is counted, a given folder is used, and a missing one is an error."""
    lines = [x for x in printed(followed, "--send").splitlines() if not x.startswith("qme: ")]
    assert lines == ["12", "30", "/"]
    out = site.run("ann@laptop", "qme run --cwd /no/such/folder true", code=125)
    assert "/no/such/folder does not exist" in out


def test_a_task_is_found_again_from_elsewhere(followed: list[Ran], site: Site) -> None:
    """Its owner sees on one machine what was submitted on the other; nobody called otherwise counts it as theirs."""
    assert printed(followed, "the long one").splitlines()[-1] == "done"
    assert "the long one" in site.run("ann@cluster", "qme search 'the long one'")
    assert "sleep" not in site.run("site@cluster", "qme ls")


def test_settings_come_from_where_the_page_says(followed: list[Ran], site: Site) -> None:
    """The site's file on the cluster, Ann's own on the laptop, and the environment before both."""
    assert str(site.folder / "cluster/config") in site.run("ann@cluster", "qme config show | grep nats_url")
    own = site.home("ann@laptop") / ".qme/config"
    assert str(own) in site.run("ann@laptop", "qme config show | grep nats_url")
    over = "QME_NATS_URL=nats://127.0.0.1:4222 qme config show | grep nats_url"
    assert "QME_NATS_URL" in site.run("ann@laptop", over)


def test_changes_of_a_shared_pool_wait_for_approval_too(followed: list[Ran], site: Site) -> None:
    """It goes on for those it was approved for; its new users are admitted from the next approval on."""
    refused = site.run("site@cluster", "qme submit --pool lab true", code=4)
    assert "pool lab admits ann, bob" in refused
    assert not site.stop_last()
    site.run("site@cluster", "qme worker shell --pool lab --user '*' 2>> ~/lab.log &")
    site.run("site@cluster", "until qme executors | grep -P 'lab\\twaiting for approval'; do sleep 0.1; done")
    site.run("site@cluster", "qme submit --pool lab true", code=4)
    assert site.run("ann@laptop", "qme run --pool lab echo as before") == "as before\n"
    site.run("site@cluster", "qme executors approve shell --pool lab")
    assert site.run("site@cluster", "qme run --pool lab echo admitted") == "admitted\n"

"""docs/deploy/site.md and upgrade.md, followed from an empty folder: real programs, keys, TLS and rights.

What the pages leave to their reader is done by `following`: names, addresses, carrying files between machines.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.deploy.following import FENCE, PATIENCE, ROOT, Block, Site, blocks

SITE, UPGRADE = ROOT / "docs/deploy/site.md", ROOT / "docs/deploy/upgrade.md"
#: the block from which on a command runs that none of what follows may disturb
RENEWAL = "# beside the first"

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(1500)]


class Followed(NamedTuple):
    """The site after its pages."""

    site: Site
    printed: dict[str, str]  #: by the text of the block
    going: str  #: id of the command that ran through renewal and upgrade
    old_key: str  #: of Ann's worker


#: a command that says what it has reached, until it is told that this is enough
_COUNTING = "i=0; until [ -e ~/enough ]; do i=$((i+1)); echo $i; sleep 0.2; done"
#: what a unit says once it works
_READY = {"qme-submitter@qme": "submitter.ready", "qme-worker@shell": "worker.ready"}


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    """Follow both pages from top to bottom."""
    subprocess.run(["make", "wheels"], cwd=ROOT, check=True, capture_output=True)
    site = Site(tmp_path_factory.mktemp("from-nothing"))
    printed: dict[str, str] = {}
    going, old_key = "", ""
    try:
        for block in (*blocks(SITE), *blocks(UPGRADE)):
            if RENEWAL in block.text:
                going = site.run("ann@laptop", f"qme submit --cwd / sh -c {shlex.quote(_COUNTING)}").strip()
                old_key = site.hand_over()
            printed[block.text] = _done(site, block)
        yield Followed(site, printed, going, old_key)
    finally:
        site.end()


def _done(site: Site, block: Block) -> str:
    """Follow a block, carry files from machine to machine, and wait for what its reader would have waited for."""
    before = {unit: site.said(unit).count(words) for unit, words in _READY.items()}
    printed = site.follow(block)
    site.hand_over()
    for unit, words in _READY.items():
        if "systemctl" in block.text and unit in block.text:
            site.until_said(unit, words, before[unit] + 1)
    if "qme-worker@shell" in block.text:
        site.until_said("qme-worker@shell", "presence.advertised")
    if "qme-dashboard@qme" in block.text:
        site.until_ready(site.dashboard)
        site.until_ready(site.exporter)
    return printed


def printed(followed: Followed, words: str) -> str:
    """What the block with these words printed."""
    return next(out for text, out in followed.printed.items() if words in text)


@pytest.mark.parametrize("page", [SITE, UPGRADE], ids=lambda page: page.name)
def test_every_block_of_a_page_says_where_it_runs(page: Path) -> None:
    """None escapes the test, and none of the commands is written another way."""
    assert page.read_text().count("```") == 2 * len(blocks(page))
    assert not re.search(r"^ {4}\S(?!.*\\n```)", FENCE.sub("", page.read_text()), re.MULTILINE)


def test_a_command_from_the_laptop_runs_on_the_login_node(followed: Followed) -> None:
    """Over TLS, with Ann's own keys, in her own pool; and nothing of the worker's is in its environment."""
    assert printed(followed, "qme doctor").endswith("hello from the login node\n")
    assert re.search(r"^bus\s+ok\s+connected as ann", printed(followed, "qme doctor"), re.MULTILINE)
    environment = followed.site.run("ann@laptop", "qme run --cwd / env").splitlines()
    assert f"HOME={followed.site.home('ann@login')}" in environment
    names = {line.partition("=")[0] for line in environment}
    assert {name for name in names if name.startswith(("QME_", "NATS_", "INVOCATION"))} == {
        "QME_TASK_ID",
        "QME_UID",
    }


def test_a_command_runs_through_a_new_key_and_an_upgrade(followed: Followed) -> None:
    """Its worker is started anew twice, submitter and dashboard once: it was started once, no line of it is missing."""
    site = followed.site
    (site.home("ann@login") / "enough").touch()
    site.run("ann@laptop", f"qme wait {followed.going} --timeout {PATIENCE}")
    lines = site.run("ann@laptop", f"qme logs {followed.going}").split()
    assert lines == [str(number) for number in range(1, len(lines) + 1)]
    assert len(lines) > 10
    record = json.loads(site.run("ann@laptop", f"qme get {followed.going}"))
    assert (record["outcome"], record["attempt"]) == ("success", 1)
    assert site.said("qme-worker@shell").count("worker.ready") == 3


def test_the_key_that_was_taken_away_opens_nothing(followed: Followed, tmp_path: Path) -> None:
    """Whoever kept the worker's first key is refused by the server, and nobody else was cut off."""
    key = tmp_path / "old.json"
    key.touch(0o600)
    key.write_text(followed.old_key)
    said = followed.site.run("ann@laptop", f"! QME_NATS_CREDS={key} qme ls 2>&1")
    (line,) = said.splitlines()
    assert "refuses the credentials" in line
    assert "the bus is away" not in followed.site.said()
    assert "eof_received" not in followed.site.said()


def test_the_exporter_speaks_for_the_bus(followed: Followed) -> None:
    """It is ready, and counts what ran; it is read here by the account that it runs as."""
    address = f"http://127.0.0.1:{followed.site.exporter}"
    with urllib.request.urlopen(f"{address}/readyz", timeout=30) as answer:
        assert answer.read() == b"ok\n"
    with urllib.request.urlopen(f"{address}/metrics", timeout=30) as answer:
        assert b'qme_tasks_submitted_total{executor="shell",pool="personal"}' in answer.read()


def test_the_dashboard_asks_for_its_password(followed: Followed) -> None:
    """It shows Ann's tasks to who knows it, and to nobody else."""
    address = f"http://127.0.0.1:{followed.site.dashboard}/api/tasks"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(address, timeout=30)
    password = (followed.site.folder / "bus/etc/qme/keys/dashboard-password").read_text().strip()
    request = urllib.request.Request(address)
    request.add_header("Authorization", f"Basic {base64.b64encode(password.encode()).decode()}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert {task["user"] for task in json.load(answer)["tasks"]} == {"ann"}


def test_no_secret_is_where_others_look(followed: Followed) -> None:
    """Not in a journal, a record, the audit trail, a list of processes, what a page's block prints, or an error."""
    site = followed.site
    secrets = site.secrets()
    assert len(secrets) == 7  # submitter, dashboard's key and password, exporter, operator, Ann, her worker
    told = {"journals": site.said(), "blocks": "".join(followed.printed.values())}
    for verb in ("ls --json", "export", "doctor", "config show", "events --user ann", "executors"):
        told[verb] = site.run("ann@laptop", f"qme {verb} 2>&1")
    told["error"] = site.run("ann@laptop", "! QME_NATS_URL=tls://localhost:1 qme ls 2>&1")
    told["ps"] = "\n".join(" ".join(process.cmdline()) for process in site.processes())
    assert "submitter.ready" in told["journals"]
    assert [where for where, text in told.items() if any(secret in text for secret in secrets)] == []

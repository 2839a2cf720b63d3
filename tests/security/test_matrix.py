"""Each cell of the permission matrix, on a real server: what is allowed is answered, what is not is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.security.matrix import COLUMNS, OPERATIONS, table
from tests.security.site import HPC, LAB, Probe, Site

from qme.bus import topology
from qme.bus.connect import read_credentials
from qme.bus.jetstream import JetStreamBus
from qme.contracts.rights import Role
from qme.settings import Settings

PAGE = Path(__file__).parents[2] / "docs/deploy/security.md"

pytestmark = [pytest.mark.nats, pytest.mark.timeout(400)]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A site with each role, its streams made by the submitter, and somebody who answers requests."""
    site = Site(tmp_path)
    for who in COLUMNS:
        site.add(who.role, who.user, who.place)
    site.add(Role.WORKER, "hpc", HPC)
    with site.server:
        bus = await JetStreamBus.open(
            [site.server.url],
            read_credentials(site.creds["submitter:site"]).login,
            user="site",
            name="test",
            connect_timeout=10,
            publish_retry=10,
        )
        await bus.ensure(topology.streams(Settings(home=tmp_path)))
        await bus.ensure_consumer(topology.audit_consumer())
        for place in (LAB, HPC):
            await bus.ensure_consumer(topology.consumer(place.executor, place.pool))
        await bus.close()
        yield site


async def test_each_role_can_do_what_the_matrix_says_and_nothing_else(site: Site):
    """For every role and operation: an answer comes, or the server says that it is not permitted."""
    submitter, lab = [await Probe.open(site, who) for who in ("submitter:site", "worker:lab")]
    for subject in ("qme.api.*.*", "qme.admin.*.*"):
        await submitter.serve(subject)
    for subject in ("qme.action.*.shell.lab.*", "qme.admin.*.action.shell.lab.*"):
        await lab.serve(subject)
    wrong = []
    for who in COLUMNS:
        probe = await Probe.open(site, f"{who.role}:{who.user}")
        for operation in OPERATIONS:
            subject = operation.subject_for(who)
            could: bool | None
            if operation.kind == "subscribe":
                could = await probe.may_subscribe(subject)
            else:
                could = await probe.may_publish(subject, operation.data, answered=operation.answered)
            if could is not operation.allowed(who):
                wrong.append((who.role.value, operation.what, subject, could))
        await probe.client.close()
    for probe in (submitter, lab):
        await probe.client.close()
    assert wrong == []


def test_the_page_shows_this_matrix():
    """docs/deploy/security.md has the table that `make rights` prints."""
    assert table() in PAGE.read_text()

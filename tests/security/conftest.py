"""A site that works: a submitter, a shared pool and a personal one, each with rights of its own; and a second team."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import pytest
from tests.security.site import LAB, Site, until

from qme.contracts.rights import Place, Role

EVES = Place("shell", "u-eve")


@pytest.fixture(scope="session")
def working_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Ann and eve in one team, mallory in another; pool lab takes both's commands, and eve has a worker of her own."""
    site = Site(tmp_path_factory.mktemp("site"))
    for role, name in (
        (Role.SUBMITTER, "site"),
        (Role.USER, "ann"),
        (Role.USER, "eve"),
        (Role.OPERATOR, "olga"),
        (Role.DASHBOARD, "dash-main"),
    ):
        site.add(role, name)
    site.add(Role.WORKER, "lab", LAB)
    site.add(Role.WORKER, "eve", EVES)
    site.add(Role.SUBMITTER, "theirs", team="other")
    site.add(Role.USER, "mallory", team="other")
    with site.server, contextlib.ExitStack() as ending:
        ending.callback(site.stop)
        site.start("submitter:site", "qme-submitter")
        site.start("submitter:theirs", "qme-submitter")
        site.start(
            "worker:lab", "qme", "worker", "shell", "--pool", "lab", "--user", "ann", "--user", "eve",
            QME_SHELL_SLOTS="4",
        )  # fmt: skip
        site.start("worker:eve", "qme", "worker", "shell")
        asyncio.run(until(lambda: _both_known(site), "both workers are known"))
        site.ok("operator:olga", "executors", "approve", "shell", "--pool", "lab")
        yield site


def _both_known(site: Site) -> bool:
    return len(site.qme("user:ann", "executors").stdout.splitlines()) == 2

"""The command line in this process, each time in a small world of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.unit.client.scene import USER, Scene
from tests.unit.client.world import world

from qme.cli import main
from qme.cli.context import Context
from qme.client import AsyncClient

Before = Callable[[Scene], Awaitable[object]]


class Done(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def qme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Run a command line in a fresh world, after `before` has prepared it."""
    for name, value in {
        "QME_HOME": str(tmp_path),
        "QME_SITE_CONFIG": str(tmp_path / "none"),
        "QME_USER": USER,
        "QME_REQUEST_TIMEOUT": "5",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("QME_NATS_URL", "QME_LOG_LEVEL", "QME_POOL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("qme_submitter.process.log.info", lambda *_, **__: None)
    # The shortest way opens a bus by itself, which would be a local stack; test_quick holds it to the other one.
    monkeypatch.setattr("qme.cli.quick.submit", lambda *_: None)

    def run(*argv: str, before: Before | None = None) -> Done:
        @asynccontextmanager
        async def client(context: Context) -> AsyncIterator[AsyncClient]:
            async with world(context.settings) as scene:
                if before:
                    await before(scene)
                yield scene.client

        monkeypatch.setattr(Context, "client", client)
        capfd.readouterr()
        code = main(argv)
        return Done(code, *capfd.readouterr())

    return run

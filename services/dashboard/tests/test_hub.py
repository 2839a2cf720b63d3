"""The hub while there is no bus: what it says, and that it goes on trying."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from qme.client.connect import connect
from qme.settings import Settings
from qme_dashboard.hub import Hub


def test_a_bus_that_is_away_is_tried_for_ever_and_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log of a dashboard that nobody looks at must not fill a disk."""
    lines: list[object] = []
    tries: list[object] = []
    enough = threading.Event()

    def counted(*args: Any, **named: Any) -> Any:
        tries.append(args)
        if len(tries) == 4:
            enough.set()
        return connect(*args, **named)

    monkeypatch.setattr("qme_dashboard.hub.RETRY", 0.01)
    monkeypatch.setattr("qme_dashboard.hub.connect", counted)
    monkeypatch.setattr("qme_dashboard.hub.log.warning", lambda *args, **named: lines.append((args, named)))
    hub = Hub(Settings(home=tmp_path, nats_url="nats://127.0.0.1:1"))
    hub.start()
    try:
        assert enough.wait(60)
        assert "can't be reached" in (hub.trouble or "")
    finally:
        hub.close()
    assert len(lines) == 1, lines

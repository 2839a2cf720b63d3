"""The pages as one ASGI application: Streamlit's settings, and which script draws. No page here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.routing import Route
from starlette.types import ASGIApp
from streamlit.web import bootstrap

from qme_dashboard.ui import sending

HERE = Path(__file__).parent
ASSETS = HERE / "assets"

_COLOURS = {
    "headingFontSizes": ["1.7rem", "1.15rem", "1.05rem"],
    "primaryColor": "#4f6bed",
    "baseRadius": "8px",
    "baseFontSize": 15,
    "paddingTop": "1rem",
    "paddingBottom": "2rem",
}
_LIGHT = {"backgroundColor": "#ffffff", "secondaryBackgroundColor": "#f4f6fa", "textColor": "#1d2433"}
_DARK = {"backgroundColor": "#12161f", "secondaryBackgroundColor": "#1c2230", "textColor": "#e6e9f0"}

#: Streamlit reads its environment only when its own command starts it, so all that matters stands here
OPTIONS: dict[str, Any] = {
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "type",
    "client.showErrorLinks": False,
    "client.toolbarMode": "minimal",
    "global.developmentMode": False,
    # A full collection after every look took three quarters of what a session costs; Python collects by itself, too.
    "runner.postScriptGC": False,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.maxUploadSize": 1,
    **{f"theme.{name}": value for name, value in _COLOURS.items()},
    **{f"theme.light.{name}": value for name, value in _LIGHT.items()},
    **{f"theme.dark.{name}": value for name, value in _DARK.items()},
}

Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]


def app(routes: Sequence[Route], lifespan: Lifespan) -> ASGIApp:
    """Give the pages, with further routes beside them."""
    bootstrap.load_config_options(OPTIONS)
    sending.keep_all()
    made: ASGIApp = st.App(HERE / "main.py", routes=routes, lifespan=lifespan)
    return made

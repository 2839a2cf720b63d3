"""The rules on who may see the dashboard, request by request."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from qme_dashboard.access import Allowed, Asked, Refused, Rules, judge

TOKEN, SESSION = "t" * 40, "s" * 40


def rules(auth: str = "token", **changed: Any) -> Rules:
    """Rules of a dashboard on loopback that acts as ann."""
    given: dict[str, Any] = {
        "auth": auth,
        "token": TOKEN,
        "session": SESSION,
        "cookie": "qme_5000",
        "user": "ann",
    }
    names = frozenset({"127.0.0.1", "localhost", "[::1]"})
    return Rules(**{**given, "names": names, "password": "ops:correct horse", **changed})


def ask(
    method: str = "GET", *, own: bool = False, token: str = "", websocket: bool = False, **headers: str
) -> Asked:
    """A request; underscores in names of headers are dashes."""
    said = {"host": "localhost:5000"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return Asked(method=method, headers=said, own=own, token=token, websocket=websocket)


def basic(said: str) -> str:
    """A header with name and password."""
    return "Basic " + base64.b64encode(said.encode()).decode()


@pytest.mark.parametrize(
    "asked",
    [
        ask(own=True),
        ask(authorization=f"Bearer {TOKEN}"),
        ask(cookie=f"a=b; qme_5000={SESSION}"),
        ask("POST", own=True),
        ask("POST", own=True, origin="http://localhost:5000", sec_fetch_site="same-origin"),
        ask(own=True, websocket=True, origin="http://localhost:5000"),
        ask(own=True, host="127.0.0.1:5000"),
        ask(own=True, host="[::1]:5000"),
    ],
    ids=str,
)
def test_these_pass(asked: Asked) -> None:
    """Our own account, the token, the cookie that was got for it; from our own pages."""
    assert judge(asked, rules()) == Allowed("ann")


def test_the_token_in_an_address_becomes_a_cookie() -> None:
    """Whoever opens the printed address is let in, and told to keep a cookie instead."""
    assert judge(ask(token=TOKEN), rules()) == Allowed("ann", enter=True)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (ask(), 403),
        (ask(token="wrong"), 403),
        (ask(token="wrong", own=True), 403),
        (ask(authorization="Bearer wrong", own=True), 403),
        (ask(cookie=f"qme_5000={TOKEN}"), 403),
        (ask(cookie="qme_5000="), 403),
        (ask(cookie=f"other={SESSION}"), 403),
        (ask(websocket=True), 403),
        (ask(own=True, host="evil.example:5000"), 421),
        (ask(own=True, host=""), 421),
        (ask("POST", own=True, origin="http://evil.example"), 403),
        (ask("POST", own=True, origin="null"), 403),
        (ask("POST", own=True, origin="http://[evil"), 403),
        (ask("POST", own=True, origin="http://localhost:6000"), 403),
        (ask("POST", own=True, sec_fetch_site="cross-site"), 403),
        (ask("POST", own=True, sec_fetch_site="same-site"), 403),
        (ask("DELETE", own=True, origin="http://evil.example"), 403),
        (ask(own=True, websocket=True, origin="http://evil.example"), 403),
    ],
    ids=str,
)
def test_these_do_not(asked: Asked, status: int) -> None:
    """Nobody without a proof, no foreign page, no foreign name; a wrong token is not made up for by the account."""
    verdict = judge(asked, rules())
    assert isinstance(verdict, Refused)
    assert verdict.status == status


def test_an_empty_secret_opens_nothing() -> None:
    """A rule whose secret is missing refuses, and does not take no secret for the right one."""
    assert isinstance(judge(ask(cookie="qme_5000="), rules(session="")), Refused)
    assert isinstance(judge(ask(authorization="Bearer "), rules(token="")), Refused)
    assert isinstance(judge(ask(authorization=basic("")), rules("basic", password="")), Refused)


@pytest.mark.parametrize(
    ("said", "passes"),
    [("ops:correct horse", True), ("ops:wrong", False), ("", False), ("correct horse", False)],
)
def test_a_password(said: str, passes: bool) -> None:
    """With basic, name and password count, and nothing else: neither the account nor the token."""
    verdict = judge(ask(authorization=basic(said)), rules("basic"))
    assert isinstance(verdict, Allowed) is passes
    for other in (
        ask(own=True),
        ask(token=TOKEN),
        ask(authorization="Basic %%%"),
        ask(cookie=f"qme_5000={SESSION}"),
    ):
        refused = judge(other, rules("basic"))
        assert isinstance(refused, Refused)
        assert refused.challenge


def test_a_proxy_names_the_person_and_shows_that_it_is_the_proxy() -> None:
    """The name counts with the token only, whoever sends it; without a name nobody passes."""
    named: dict[str, Any] = {"x_qme_token": TOKEN, "x_forwarded_user": "bob"}
    assert judge(ask(**named), rules("proxy")) == Allowed("bob")
    utf8 = "Žofie".encode().decode("latin-1")
    assert judge(ask(**{**named, "x_forwarded_user": utf8}), rules("proxy")) == Allowed("Žofie")
    for wrong in (
        ask(own=True, x_forwarded_user="bob"),
        ask(x_forwarded_user="bob", x_qme_token="wrong"),
        ask(x_qme_token=TOKEN),
        ask(token=TOKEN, x_forwarded_user="bob"),
    ):
        assert isinstance(judge(wrong, rules("proxy")), Refused)


def test_secrets_show_in_no_traceback() -> None:
    """What prints the rules prints no secret."""
    assert not any(secret in repr(rules()) for secret in (TOKEN, SESSION, "correct horse"))

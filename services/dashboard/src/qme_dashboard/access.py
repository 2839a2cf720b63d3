"""Who may see the dashboard, and do what: the rules, for one request at a time. Pure; `guard` asks and obeys.

On loopback any local account can connect, any web page can make its reader's browser send requests, and any name can be
made to lead here. So: the account at the other end counts, or a secret; a request that may change something has to come
from our own pages; and only names that we know are answered.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

#: header by which a proxy shows that it is ours
PROXY_TOKEN = "x-qme-token"  # noqa: S105 - its name, not a token
_READING = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What holds in this process."""

    auth: str  #: token, basic or proxy
    token: str = field(repr=False)
    session: str = field(repr=False)  #: what the cookie of a browser that showed the token holds
    cookie: str  #: its name
    user: str  #: whom the dashboard acts as
    names: frozenset[str]  #: what a Host header may say, lower case, without the port
    password: str = field(default="", repr=False)  #: NAME:PASSWORD
    user_header: str = "x-forwarded-user"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request. `own`: the connection comes from a process of our own account on this machine."""

    method: str
    headers: Mapping[str, str]  #: names in lower case
    token: str = ""  #: of the query string
    own: bool = False
    websocket: bool = False


class Allowed(NamedTuple):
    """It may pass, as this person; `enter`: the token was shown in the address, so give a cookie instead."""

    person: str
    enter: bool = False


class Refused(NamedTuple):
    """It may not, and why."""

    status: int
    why: str
    challenge: bool = False  #: a browser shall ask for name and password


def judge(asked: Asked, rules: Rules) -> Allowed | Refused:
    """Decide on a request."""
    if (problem := _foreign(asked, rules)) is not None:
        return problem
    match rules.auth:
        case "basic":
            return _by_password(asked, rules)
        case "proxy":
            return _by_proxy(asked, rules)
    return _by_token(asked, rules)


def _foreign(asked: Asked, rules: Rules) -> Refused | None:
    """Refuse what another site's page makes a browser send."""
    host = asked.headers.get("host", "")
    if _name(host) not in rules.names:
        return Refused(
            421, f"this dashboard does not answer to {host!r}; the setting dashboard_names may add it"
        )
    if asked.method in _READING and not asked.websocket:
        return None
    origin = asked.headers.get("origin")
    if origin is not None and _place(origin) != host.lower():
        return Refused(403, "this came from another site's page")
    if asked.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return Refused(403, "this came from another site's page")
    return None


def _by_token(asked: Asked, rules: Rules) -> Allowed | Refused:
    if asked.token:
        if _same(asked.token, rules.token):
            return Allowed(rules.user, enter=True)
        return Refused(
            403, "this token is not the dashboard's; `qme start` prints the address with the right one"
        )
    scheme, _, credentials = asked.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        if _same(credentials.strip(), rules.token):
            return Allowed(rules.user)
        return Refused(403, "this token is not the dashboard's")
    if _same(_cookies(asked.headers.get("cookie", "")).get(rules.cookie, ""), rules.session) or asked.own:
        return Allowed(rules.user)
    return Refused(403, "open the address that `qme start` printed: it holds the token")


def _by_password(asked: Asked, rules: Rules) -> Allowed | Refused:
    scheme, _, credentials = asked.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            said = base64.b64decode(credentials, validate=True).decode()
        except ValueError:
            said = ""
        if rules.password and _same(said, rules.password):
            return Allowed(rules.user)
    return Refused(401, "name and password, please", challenge=True)


def _by_proxy(asked: Asked, rules: Rules) -> Allowed | Refused:
    # Whoever reaches the port could send the name's header: the proxy has to show that it is the one.
    if not _same(asked.headers.get(PROXY_TOKEN, ""), rules.token):
        return Refused(403, f"this dashboard is reached through its proxy, which has to send {PROXY_TOKEN}")
    # Headers are read as Latin-1; whoever sends names beyond ASCII sends UTF-8.
    person = asked.headers.get(rules.user_header, "").strip().encode("latin-1").decode(errors="replace")
    if not person:
        return Refused(403, f"the proxy named nobody in {rules.user_header}")
    return Allowed(person)


def _name(host: str) -> str:
    """Give the name of a Host header, without port, in lower case; IPv6 in its brackets."""
    name = host.strip().lower()
    return name[: name.index("]") + 1] if name.startswith("[") and "]" in name else name.partition(":")[0]


def _place(origin: str) -> str:
    """Give host and port of an Origin header; nothing for one that is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _cookies(header: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return {name: value for name, _, value in pairs}


def _same(said: str, wanted: str) -> bool:
    return bool(wanted) and hmac.compare_digest(said.encode(), wanted.encode())

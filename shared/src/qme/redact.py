"""What must never be shown: recognises secrets in text and in names. No imports of qme, no logging here.

It stands below `qme.settings` and `qme.observe`, which may not see each other, and both
print what people configured.
"""

from __future__ import annotations

import re

HIDDEN = "***"

_USERINFO = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@]*@", re.IGNORECASE)
_ASSIGNED = re.compile(r"(?i)\b((?:\w*_)?(?:password|passwd|secret|token|seed)\s*[=:]\s*)[^\s,;&'\"]+")
#: a private NATS key, as it stands in a credentials file
_NKEY_SEED = re.compile(r"\bS[UAONCX][A-Z2-7]{56}\b")
_JWT = re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]+")
_SECRET_NAME = re.compile(
    r"(?i)(?:^|[_.-])(?:password|passwd|secret|token|seed|creds|credentials|jwt|nkey|authorization|env)s?(?:$|[_.-])"
)


def text(value: str) -> str:
    """Give the text with passwords in URLs, ``password=…``, NATS seeds and JWTs hidden."""
    value = _USERINFO.sub(rf"\1{HIDDEN}@", value)
    value = _ASSIGNED.sub(rf"\1{HIDDEN}", value)
    return _JWT.sub(HIDDEN, _NKEY_SEED.sub(HIDDEN, value))


def is_secret(name: str) -> bool:
    """Tell whether a field of this name holds a secret; ``env`` counts, since people pass secrets in it."""
    return bool(_SECRET_NAME.search(name))

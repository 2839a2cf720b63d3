"""Lays out NATS accounts and users for identities, as the text of an include file. Pure: no file, no key is made here.

Each team has an account that holds its streams, where submitters alone stand; an account for its people; and one for
each executor and pool, for the workers there. What crosses between them is named, export by import, so that an answer
steered anywhere (a request chooses where its answer goes, and no server checks that) stays within what its asker may
write anyway: docs/decisions/ has the tries that led here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from qme.contracts import rights, subjects
from qme.contracts.rights import Place, Rights, Role

_HEAD = """\
# Accounts, users and rights of qme, written by `qme auth`: changes here are lost with its next call.
# It holds public keys only. The server's own configuration takes it in with: include "./qme-auth.conf"
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody, or a service, with the public keys that prove it. `user` is a token, `place` a worker's."""

    team: str
    role: Role
    user: str
    place: Place | None = None
    keys: tuple[str, ...] = ()

    @property
    def rights(self) -> Rights:
        """What it may say and hear."""
        return rights.rights(self.role, self.user, self.place)

    @property
    def account(self) -> str:
        """Where it stands."""
        if self.place is not None:
            return worker_account(self.team, self.place)
        return core_account(self.team) if self.role is Role.SUBMITTER else people_account(self.team)


def core_account(team: str) -> str:
    """Name the account that holds a team's streams."""
    return team


def people_account(team: str) -> str:
    """Name the account of a team's people, dashboards and exporters."""
    return f"{team}:people"


def worker_account(team: str, place: Place) -> str:
    """Name the account of the workers of one executor and pool."""
    return f"{team}:{place.executor}:{place.pool}"


@dataclass
class _Account:
    jetstream: bool = False
    exports: list[str] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    def text(self, name: str) -> str:
        lines = ["    jetstream: enabled"] if self.jetstream else []
        for what in ("exports", "imports", "users"):
            if entries := getattr(self, what):
                lines += [f"    {what} = [", *(f"      {entry}" for entry in entries), "    ]"]
        return "\n".join((f"  {_quoted(name)} {{", *lines, "  }\n"))


def configuration(identities: Iterable[Identity]) -> str:
    """Give the include file for all identities of all teams."""
    teams: dict[str, list[Identity]] = {}
    for identity in identities:
        teams.setdefault(identity.team, []).append(identity)
    accounts = "".join(
        account.text(name) for team in sorted(teams) for name, account in _accounts(team, teams[team]).items()
    )
    return f"{_HEAD}accounts {{\n{accounts}}}\n"


def _accounts(team: str, identities: Sequence[Identity]) -> dict[str, _Account]:
    core, people = core_account(team), people_account(team)
    places = sorted({identity.place for identity in identities if identity.place is not None})
    accounts = {
        core: _Account(
            jetstream=True,
            exports=[*_offered(places), _stream(subjects.CHANGES)],
            imports=[
                _imported("service", worker_account(team, place), rights.served(place)[0]) for place in places
            ],
        ),
        people: _Account(
            imports=[
                *(_imported("service", core, subject) for subject in _crossing()),
                _imported("stream", core, subjects.CHANGES),
                *(
                    _imported("service", worker_account(team, place), subject)
                    for place in places
                    for subject in rights.served(place)
                ),
                *(_imported("stream", worker_account(team, place), rights.output(place)) for place in places),
            ]
        ),
    }
    for place in places:
        accounts[worker_account(team, place)] = _Account(
            exports=[*map(_service, rights.served(place)), _stream(rights.output(place))],
            imports=[_imported("service", core, subject) for subject in rights.working(place)],
        )
    for identity in identities:
        accounts[identity.account].users += [_user(key, identity.rights) for key in identity.keys]
    return accounts


def _crossing() -> tuple[str, ...]:
    """What people's account may say to the streams': all that any role in it may, for any of its users."""
    reads = (*rights.watching(), *rights.COUNTING)
    verbs = (
        subjects.api_subject("*", verb, admin=admin)
        for admin, verbs in ((False, subjects.VERBS), (True, subjects.ADMIN_VERBS))
        for verb in verbs
    )
    return tuple(dict.fromkeys((*reads, *verbs)))


def _offered(places: Iterable[Place]) -> Iterator[str]:
    """The exports of the streams' account, each subject once; answers of many messages have to be said."""
    many = {rights.COUNTED, *map(rights.pulling, places)}
    many |= {rights.pages(stream) for stream in (*rights.READABLE, rights.CONTROL)}
    wanted = (*_crossing(), *(subject for place in places for subject in rights.working(place)))
    for subject in dict.fromkeys(wanted):
        yield _service(subject, ", response_type: stream" if subject in many else "")


def _service(subject: str, more: str = "") -> str:
    return f"{{ service: {_quoted(subject)}{more} }}"


def _stream(subject: str) -> str:
    return f"{{ stream: {_quoted(subject)} }}"


def _imported(what: str, account: str, subject: str) -> str:
    return f"{{ {what}: {{ account: {_quoted(account)}, subject: {_quoted(subject)} }} }}"


def _user(key: str, its: Rights) -> str:
    def listed(patterns: Iterable[str]) -> str:
        return f"[{', '.join(map(_quoted, patterns))}]"

    return (
        f"{{ nkey: {key}, permissions: {{ publish: {{ allow: {listed(its.publish)} }}, "
        f"subscribe: {{ allow: {listed(its.subscribe)} }} }} }}"
    )


def _quoted(text: str) -> str:
    return json.dumps(text)

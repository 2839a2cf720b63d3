"""What people are offered, and why not the rest."""

from __future__ import annotations

import pytest

from qme.contracts import subjects
from qme.contracts.executors import ActionInfo
from qme_dashboard.deeds import NO_ASKING, NOT_THEIRS, READ_ONLY, Person, barred

LOOKS, CHANGES = ActionInfo(name="why"), ActionInfo(name="note", changes=True)
ASKS, HOLDS = ActionInfo(name="status", remote=True), ActionInfo(name="hold", remote=True, changes=True)
OWNER, NAMED, LOOKER = Person("ann", may_act=True), Person("bob", may_act=True, named=True), Person("ann")
SITE = f"{subjects.DASHBOARD}-portal"


@pytest.mark.parametrize(
    ("person", "login", "action", "why"),
    [
        (OWNER, "ann", ASKS, None),
        (OWNER, "ann", HOLDS, None),
        (LOOKER, "ann", ASKS, None),
        (LOOKER, "ann", HOLDS, READ_ONLY),
        (NAMED, SITE, LOOKS, None),
        (NAMED, SITE, ASKS, NO_ASKING),
        (NAMED, SITE, HOLDS, NO_ASKING),
        (NAMED, SITE, CHANGES, NOT_THEIRS),
        (NAMED, "operator", ASKS, None),
        (NAMED, "operator", HOLDS, NOT_THEIRS),
    ],
)
def test_what_would_be_refused_is_off(
    person: Person, login: str, action: ActionInfo, why: str | None
) -> None:
    """A button that the rights let nobody use says which right is missing."""
    assert barred(person, login, action) == why

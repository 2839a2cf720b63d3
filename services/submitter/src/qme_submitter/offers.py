"""One executor in one pool as it counts for routing: as approved, and with what is wrong with it. Pure; no decisions.

An approval is an operator's word on a definition as it stood: the definition goes on as it was approved until its
changes are approved too. One that runs as another account than approved takes nothing, but what it is known to match
must not fall to the shell meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

from qme.contracts.executors import Approval, Definition
from qme.contracts.subjects import untoken
from qme.errors import InvalidRequest
from qme_submitter.patterns import problem


@dataclass(frozen=True, slots=True)
class Offer:
    """A definition as it counts: with the approved matchstring and priority, and what is wrong with it, if anything."""

    executor: str
    pool: str
    matchstring: str | None
    priority: int
    version: str
    definition: Definition
    approval: Approval | None = None
    #: how its commands name a script that clients send along
    script: str | None = None
    #: why it takes no command
    trouble: str | None = None
    #: worth knowing, though it counts
    remark: str | None = None
    #: its executor is known to take what it matches, so that must not fall to the shell
    known: bool = True

    def admits(self, user: str) -> bool:
        """Tell whether both the definition and its approval admit a user."""
        if self.approval is None:
            return self.definition.admits(user)
        approved = self.definition.model_copy(update={"users": self.approval.users})
        return self.definition.admits(user) and approved.admits(user)


def offer(definition: Definition, approval: Approval | None) -> Offer:
    """Judge how a definition counts, given the approval of its executor and pool."""
    matchstring, priority, script = definition.matchstring, definition.priority, definition.script
    trouble: str | None = None
    remark: str | None = None
    known = True
    if definition.personal:
        approval = None
    elif approval is None:
        # Unapproved, it may not even keep a command from the shell: else anybody's `.*` would stop everybody.
        known = False
        command = f"qme executors approve {definition.executor} --pool {shown(definition.pool)}"
        trouble = f"not approved; an operator can: {command}"
    else:
        matchstring, priority, script = approval.matchstring, approval.priority, approval.script
        if approval.account != definition.account:
            trouble = f"it runs as {definition.account} now, but was approved for {approval.account}"
        elif not approval.covers(definition):
            remark = "goes on as it was approved; its changes wait for approval"
    refused = problem(matchstring) if matchstring is not None else None
    if refused is not None:
        trouble = f"its pattern can't be used: {refused}"
    return Offer(
        definition.executor,
        definition.pool,
        matchstring,
        priority,
        definition.version,
        definition,
        approval,
        script,
        trouble,
        remark,
        known,
    )


def closed_to(one: Offer, user: str) -> str:
    """Say why an offer does not take a user's commands."""
    if one.trouble is not None:
        return one.trouble
    if one.definition.personal:
        return f"pool {shown(one.pool)} is its owner's own"
    admitted = one.definition.users or (one.definition.account,)
    return (
        f"pool {shown(one.pool)} admits {', '.join(admitted)}"
        if user not in admitted
        else "not approved for them"
    )


def shown(pool: str) -> str:
    """Give a pool's name as people wrote it."""
    prefix = "u-" if pool.startswith("u-") else ""
    try:
        return prefix + untoken(pool.removeprefix(prefix))
    except InvalidRequest:
        return pool

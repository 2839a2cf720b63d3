"""What `qme match` tells: the decision, and a verdict on every definition that the user may know of. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qme.contracts.messages import Candidate, MatchReply
from qme.errors import NoExecutorMatches, NotPermitted
from qme_submitter.offers import Offer, closed_to, shown
from qme_submitter.routing import Decision, Routes, View

#: number of living workers by executor and pool; a missing one has none
Online = Mapping[tuple[str, str], int]


def explain(
    routes: Routes,
    words: Sequence[str],
    user: str,
    online: Online,
    *,
    pool: str | None = None,
    executor: str | None = None,
) -> MatchReply:
    """Route a command as a submission would be, and say why each definition does or does not take it."""
    decision: Decision | None = None
    try:
        decision = routes.route(words, user, pool=pool, executor=executor)
        why = decision.why
    except (NoExecutorMatches, NotPermitted) as refusal:
        why = refusal.message
    command = " ".join(words)
    view = routes.view(user)
    hits = routes.patterns.matching(command)
    candidates = tuple(
        Candidate(
            executor=one.executor,
            pool=one.pool,
            matchstring=one.matchstring,
            priority=one.priority,
            verdict=_verdict(one, view, hits, decision) + _afterthoughts(one, alive),
            online=alive,
        )
        for one in sorted(view.visible, key=lambda one: (-one.priority, one.executor, one.pool))
        for alive in (online.get((one.executor, one.pool), 0),)
    )
    return MatchReply(
        command=command,
        executor=decision.executor if decision else None,
        pool=decision.pool if decision else None,
        why=why,
        script=_script(view, decision),
        candidates=candidates,
    )


def script_of(
    routes: Routes, words: Sequence[str], user: str, *, pool: str | None = None, executor: str | None = None
) -> str | None:
    """Tell how the executor that a command would go to names scripts; None too where nobody takes it."""
    try:
        decision = routes.route(words, user, pool=pool, executor=executor)
    except (NoExecutorMatches, NotPermitted):
        return None
    return _script(routes.view(user), decision)


def _script(view: View, decision: Decision | None) -> str | None:
    return next((one.script for one in view.visible if decision and _goes_to(one, decision)), None)


def _goes_to(one: Offer, decision: Decision) -> bool:
    return (one.executor, one.pool) == (decision.executor, decision.pool)


def _verdict(one: Offer, view: View, hits: set[str], decision: Decision | None) -> str:
    if one.trouble is not None or not one.admits(view.user):
        return closed_to(one, view.user)
    leader = view.groups[one.executor].leader
    if decision and _goes_to(one, decision):
        return "takes it"
    if leader.matchstring is None:
        says = "takes only what nobody else matches"
    elif leader.matchstring not in hits:
        return "its pattern does not match" + _led(one, leader)
    else:
        says = "its pattern matches" + _led(one, leader)
    if decision is None:
        return says
    if one.executor == decision.executor:
        return f"{says}, but pool {shown(decision.pool)} goes first"
    return f"{says}, but {decision.executor} goes first"


def _led(one: Offer, leader: Offer) -> str:
    if one.matchstring == leader.matchstring:
        return ""
    return (
        f" (that of version {leader.version} in pool {shown(leader.pool)}, the newest: {leader.matchstring})"
    )


def _afterthoughts(one: Offer, alive: int) -> str:
    remark = f"; {one.remark}" if one.remark else ""
    return remark + ("" if alive or one.trouble else "; no worker is alive, its tasks wait")

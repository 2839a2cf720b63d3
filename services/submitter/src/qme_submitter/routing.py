"""Which executor and pool take a command. Pure: the same definitions, command and user give the same answer.

The rule, in this order:

1. A definition counts for the users it admits: one of a shared pool as an operator has approved it (see `offers`), one
   of a personal pool (``u-<user>``) for its owner alone.
2. One executor has one matchstring: its definitions of several pools are led by the one of the highest version.
3. Executors whose matchstring is found in the words (joined by one space) are ordered by priority, high first, then by
   name. The first one takes the command. Whether its workers are alive plays no part: its tasks wait.
4. An executor without a matchstring takes what nobody else matches: nobody at all, in no pool. A command that some
   approved executor knows, but not for this user or not in the pool asked for, is refused and never falls to the shell.
5. The pool: the one asked for, else the user's own, else the only one, else ``default``, else the user has to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from qme.contracts.executors import Approval, Definition, version_order
from qme.contracts.subjects import personal_pool, token
from qme.errors import NoExecutorMatches, NotPermitted
from qme_submitter.offers import Offer, closed_to, offer, shown
from qme_submitter.patterns import Patterns

DEFAULT_POOL = "default"


@dataclass(frozen=True, slots=True)
class Group:
    """An executor as one user sees it: what it matches, and the pools that admit the user."""

    executor: str
    leader: Offer
    pools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a command goes, and why."""

    executor: str
    pool: str
    why: str


class View:
    """All offers as they concern one user."""

    def __init__(self, offers: Sequence[Offer], user: str) -> None:
        self.user = user
        self.visible = tuple(o for o in offers if not o.definition.personal or o.admits(user))
        mine = [o for o in self.visible if o.trouble is None and o.admits(user)]
        groups = [
            _group([o for o in mine if o.executor == name]) for name in sorted({o.executor for o in mine})
        ]
        groups.sort(key=lambda group: (-group.leader.priority, group.executor))
        self.groups = {group.executor: group for group in groups}
        self.fallbacks = tuple(group for group in groups if group.leader.matchstring is None)
        self.closed = tuple(o for o in self.visible if o.known and not (o.trouble is None and o.admits(user)))
        self._by_pattern: dict[str, list[int]] = {}
        self._groups = groups
        for place, group in enumerate(groups):
            if group.leader.matchstring is not None:
                self._by_pattern.setdefault(group.leader.matchstring, []).append(place)

    def matched(self, hits: set[str]) -> list[Group]:
        """Give the executors whose matchstring is among `hits`, first choice first."""
        return [
            self._groups[place] for place in sorted(p for hit in hits for p in self._by_pattern.get(hit, ()))
        ]


class Routes:
    """What is known about executors at one moment; build a new one when a definition or approval changes."""

    def __init__(
        self, definitions: Iterable[Definition], approvals: Mapping[tuple[str, str], Approval]
    ) -> None:
        offers = [offer(one, approvals.get((one.executor, one.pool))) for one in definitions]
        self.offers = tuple(sorted(offers, key=lambda one: (one.executor, one.pool)))
        self.patterns = Patterns(one.matchstring for one in self.offers if one.matchstring is not None)
        self.view = lru_cache(maxsize=1024)(self._view)

    def _view(self, user: str) -> View:
        return View(self.offers, user)

    def route(
        self, words: Sequence[str], user: str, *, pool: str | None = None, executor: str | None = None
    ) -> Decision:
        """Decide where a user's command goes; `pool` and `executor` are what the user asked for.

        Raises NoExecutorMatches with the names there are, NotPermitted for a pool that does not admit the user.
        """
        view = self.view(user)
        place = None if pool is None else self._asked_pool(view, pool)
        if executor is not None:
            return self._forced(view, executor, place)
        hits = self.patterns.matching(" ".join(words))
        matched = view.matched(hits)
        for group in matched:
            if place is None or place in group.pools:
                return _placed(view, group, place, f"its pattern {group.leader.matchstring} matches")
        self._refuse_known(view, hits, matched, place)
        for group in view.fallbacks:
            if place is None or place in group.pools:
                return _placed(view, group, place, "nobody's pattern matches, and it takes the rest")
        where = "" if place is None else f" in pool {shown(place)}"
        raise NoExecutorMatches(
            f"no executor takes this command{where}; executors for {user}: {_names(view.groups)}"
        )

    def _asked_pool(self, view: View, pool: str) -> str:
        spellings = {pool, token(pool)}
        offered = [one for one in self.offers if one.pool in spellings]
        if not offered:
            mine = sorted({shown(name) for group in view.groups.values() for name in group.pools})
            raise NoExecutorMatches(f"there is no pool {pool!r}; pools for {view.user}: {_names(mine)}")
        for one in offered:
            if one.trouble is None and one.admits(view.user):
                return one.pool
        raise NotPermitted(
            f"pool {pool!r} does not take commands of {view.user}: {closed_to(offered[0], view.user)}"
        )

    def _forced(self, view: View, executor: str, place: str | None) -> Decision:
        group = view.groups.get(executor)
        if group is None:
            for one in view.visible:
                if one.executor == executor:
                    raise NotPermitted(
                        f"executor {executor} does not take commands of {view.user}: {closed_to(one, view.user)}"
                    )
            raise NoExecutorMatches(
                f"there is no executor {executor!r}; executors for {view.user}: {_names(view.groups)}"
            )
        if place is not None and place not in group.pools:
            raise NoExecutorMatches(
                f"executor {executor} has no pool {shown(place)!r} for {view.user}; its pools: {_pools(group)}"
            )
        return _placed(view, group, place, "it was asked for")

    def _refuse_known(self, view: View, hits: set[str], matched: list[Group], place: str | None) -> None:
        """Refuse what a known executor matches, but not for this user or in this pool."""
        way_out = "--executor NAME overrides the patterns"
        if matched and place is not None:
            group = matched[0]
            raise NoExecutorMatches(
                f"{group.executor} takes this command, but not in pool {shown(place)}; its pools: {_pools(group)}; "
                f"{way_out}"
            )
        for one in view.closed:
            if one.matchstring in hits:
                raise NoExecutorMatches(
                    f"{one.executor} takes this command, but not from {view.user}: {closed_to(one, view.user)}; "
                    f"{way_out}"
                )


def _group(offers: Sequence[Offer]) -> Group:
    leader = max(offers, key=lambda one: (version_order(one.version), one.version, one.pool))
    return Group(leader.executor, leader, tuple(sorted(one.pool for one in offers)))


def _placed(view: View, group: Group, place: str | None, why: str) -> Decision:
    own = personal_pool(view.user)
    if place is not None:
        return Decision(group.executor, place, f"{group.executor}: {why}; pool {shown(place)} was asked for")
    if own in group.pools:
        return Decision(
            group.executor, own, f"{group.executor}: {why}; pool {shown(own)} is {view.user}'s own"
        )
    if len(group.pools) == 1:
        only = group.pools[0]
        return Decision(group.executor, only, f"{group.executor}: {why}; pool {shown(only)} is the only one")
    if DEFAULT_POOL in group.pools:
        return Decision(
            group.executor, DEFAULT_POOL, f"{group.executor}: {why}; pool {DEFAULT_POOL} is the usual one"
        )
    raise NoExecutorMatches(
        f"{group.executor} takes this command in several pools; choose one with --pool: {_pools(group)}"
    )


def _pools(group: Group) -> str:
    return ", ".join(shown(pool) for pool in group.pools)


def _names(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"

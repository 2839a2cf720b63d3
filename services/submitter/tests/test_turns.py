"""Whose turn it is, by hand and in random orders."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from random import Random

import uuid_utils
from hypothesis import given
from hypothesis import strategies as st

from qme.contracts.tasks import TaskRecord
from qme_submitter.turns import Place, Turns, choose
from qme_submitter.waiting import Waiting

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SHELL: Place = ("shell", "default")


def task(user: str, priority: int = 0, pool: str = "default") -> Waiting:
    """Make a task that waits."""
    uuid = uuid_utils.uuid7()
    record = TaskRecord(
        uid=f"shell-{uuid}",
        executor="shell",
        pool=pool,
        command="x",
        user=user,
        priority=priority,
        created=NOW,
    )
    return Waiting.of(record, 1, {})


def let_in(turns: Turns, count: int, *stand_back: Waiting) -> list[Waiting]:
    """Choose so many at each place."""
    return list(choose(turns, lambda place: count, lambda one: one in stand_back, 1000))


def filled(*tasks: Waiting) -> Turns:
    """Put tasks in line."""
    turns = Turns()
    for one in tasks:
        turns.add(one)
    return turns


def test_users_take_turns() -> None:
    """Whoever comes with one task waits for one of each other user's, however many those have."""
    ann, bob, eve = [task("ann") for _ in range(5)], [task("bob") for _ in range(2)], task("eve")
    turns = filled(*ann, *bob, eve)
    assert let_in(turns, 5) == [ann[0], bob[0], eve, ann[1], bob[1]]
    late = task("zoe")
    turns.add(late)
    assert let_in(turns, 9) == [ann[2], late, *ann[3:]]
    assert not turns.waits_at(SHELL)


def test_priority_goes_first() -> None:
    """Across users, and before anybody's turn."""
    low, plain, high = task("ann", -1), task("ann"), task("bob", 5)
    assert let_in(filled(low, plain, high), 9) == [high, plain, low]


def test_each_place_has_its_own_line() -> None:
    """A pool that is full holds up no other one."""
    here, there = task("ann"), task("ann", pool="gpu")
    turns = filled(here, there)
    assert list(choose(turns, lambda place: place[1] == "gpu", lambda one: False, 9)) == [there]
    assert turns.places() == [SHELL]


def test_no_more_than_asked_for() -> None:
    """What is left has its turn the next time."""
    turns = filled(*(task("ann") for _ in range(5)), *(task("ann", pool="gpu") for _ in range(5)))
    assert len(choose(turns, lambda place: 9, lambda one: False, 7)) == 7
    assert len(choose(turns, lambda place: 9, lambda one: False, 7)) == 3


def test_who_left_is_passed_over() -> None:
    """A task that was cancelled while it waited; one that left and came again counts once."""
    one, other = task("ann"), task("ann")
    turns = filled(one, other)
    turns.discard(one.key.uuid)
    turns.discard(one.key.uuid)
    turns.add(one)
    assert len(turns) == 2
    assert sorted(t.key.uuid for t in let_in(turns, 9)) == sorted((one.key.uuid, other.key.uuid))
    turns.discard(other.key.uuid)
    assert not turns.places()


def test_who_has_to_stand_back_holds_up_nobody() -> None:
    """Until it is given another turn."""
    big, small = task("ann"), task("ann")
    turns = filled(big, small)
    assert let_in(turns, 1, big) == [small]
    assert turns.places_held() == [SHELL]
    assert not turns.waits_at(SHELL)
    assert let_in(turns, 9) == []
    turns.bring_back(turns.held_at(SHELL))
    assert let_in(turns, 9) == [big]
    assert len(turns) == 0


def test_another_turn_for_one_is_none_for_the_others() -> None:
    """A hundred thousand may stand back: what concerns a few of them is done for these."""
    one, other = task("ann"), task("ann")
    turns = filled(one, other)
    assert let_in(turns, 9, one, other) == []
    turns.bring_back([one.key.uuid, task("bob").key.uuid])
    assert let_in(turns, 9) == [one]
    assert turns.held_at(SHELL) == [other.key.uuid]


def test_who_leaves_while_it_stands_back() -> None:
    """It does not come again."""
    big = task("ann")
    turns = filled(big)
    let_in(turns, 1, big)
    turns.discard(big.key.uuid)
    turns.bring_back([big.key.uuid])
    assert let_in(turns, 9) == []


@given(
    coming=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-1, 1)), max_size=40),
    chance=st.randoms(use_true_random=False),
)
def test_any_order(coming: list[tuple[str, int]], chance: Random) -> None:
    """Everybody comes out once; nobody passes a higher priority; no user is two turns ahead of one who waits."""
    turns, inside, out = Turns(), {}, []
    for user, priority in coming:
        one = task(user, priority)
        turns.add(one)
        inside[one.key.uuid] = one
        if chance.random() < 0.2:
            gone = chance.choice(sorted(inside))
            turns.discard(gone)
            del inside[gone]
    served: dict[int, Counter[str]] = {}
    while inside:
        assert turns.waits_at(SHELL)
        for one in let_in(turns, chance.randint(1, 3)):
            waiting = list(inside.values())
            assert one.priority == max(other.priority for other in waiting)
            counts = served.setdefault(one.priority, Counter())
            counts[one.user] += 1
            behind = {other.user for other in waiting if other.priority == one.priority}
            assert all(counts[one.user] <= counts[user] + 1 for user in behind)
            del inside[one.key.uuid]
            out.append(one.key.uuid)
    assert len(set(out)) == len(out)
    assert not turns.waits_at(SHELL)
    assert len(turns) == 0

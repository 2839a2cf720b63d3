"""Who is given what on one worker: pure counting, by hand and in random orders."""

from __future__ import annotations

from collections import deque
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from qme.contracts.resources import Capacity, Resources, shortage, unfit
from qme.executor.capacity import Supply
from qme.worker.packing import Grant, Packing, environment

GIB = 1 << 30
SUPPLY = Supply(cpus=4, mem=8 * GIB, gpus=("0", "1", "7"))


def cpus(count: int) -> Resources:
    """Ask for cpus."""
    return Resources(cpus=count)


def test_no_more_is_given_than_there_is() -> None:
    """Each kind is counted by itself, and so are the slots."""
    packing = Packing[str](3, SUPPLY)
    assert packing.take("a", Resources(cpus=3, mem=2 * GIB))
    assert not packing.take("b", cpus(2))
    assert not packing.take("b", Resources(mem=7 * GIB))
    assert packing.take("c", cpus(1))
    assert packing.take("d", None)
    assert not packing.take("e", None)
    packing.free("d")
    assert packing.take("e", Resources(mem=6 * GIB))


def test_what_asks_for_nothing_takes_a_slot_and_nothing_else() -> None:
    """A worker whose cpus are all given away has room for it."""
    packing = Packing[str](2, SUPPLY)
    packing.take("a", cpus(4))
    assert packing.take("b", None) == Grant()


def test_devices_are_given_by_name_and_to_one_only() -> None:
    """A device is free again once its task is gone."""
    packing = Packing[str](9, SUPPLY)
    assert packing.take("a", Resources(gpus=2)) == Grant(Resources(gpus=2), ("0", "1"))
    assert packing.take("b", Resources(gpus=1)) == Grant(Resources(gpus=1), ("7",))
    assert packing.take("c", Resources(gpus=1)) is None
    packing.free("a")
    assert packing.take("c", Resources(gpus=1)) == Grant(Resources(gpus=1), ("0",))


def test_exclusive_is_alone() -> None:
    """Nothing runs beside it, and it starts beside nothing."""
    packing = Packing[str](9, SUPPLY)
    packing.take("small", None)
    alone = Resources(exclusive=True)
    assert not packing.take("alone", alone)
    packing.free("small")
    assert packing.take("alone", alone)
    assert packing.closed
    assert not packing.take("small", None)


def test_who_stands_in_line_is_not_passed() -> None:
    """What becomes free gathers for the first in the line, though others would fit."""
    packing = Packing[str](9, SUPPLY)
    packing.take("a", cpus(2))
    packing.take("b", cpus(2))
    assert not packing.take("big", cpus(4))
    packing.wait("big")
    packing.free("a")
    assert not packing.take("small", cpus(1))
    assert not packing.take("big", cpus(4))
    packing.free("b")
    assert not packing.take("small", cpus(1))
    assert packing.take("big", cpus(4))
    assert not packing.line


def test_leaving_the_line_lets_others_in() -> None:
    """A task that is cancelled while it waits holds up nobody."""
    packing = Packing[str](9, SUPPLY)
    packing.take("a", cpus(1))
    packing.wait("big")
    assert not packing.take("small", cpus(1))
    packing.free("big")
    assert packing.take("small", cpus(1))


def test_what_is_taken_up_again_counts() -> None:
    """With the devices that it had, even if it is more than there is by now."""
    packing = Packing[str](9, Supply(1, GIB, ("0", "1")))
    packing.count("old", Resources(cpus=2, gpus=1), ("1",))
    assert not packing.take("new", cpus(1))
    assert packing.take("gpu", Resources(gpus=1)) == Grant(Resources(gpus=1), ("0",))
    assert packing.take("plain", None)


def test_a_worker_of_slots_only_asks_no_questions() -> None:
    """What an older submitter let through runs as it did."""
    packing = Packing[str](2, None)
    assert packing.short(cpus(1000)) is None
    assert packing.take("a", Resources(cpus=1000, exclusive=True))
    assert packing.take("b", cpus(1000))
    assert not packing.take("c", None)


def test_what_never_fits_is_told_in_words() -> None:
    """Only where each living worker says what it has, and none has enough."""
    small, large = Capacity(cpus=2, mem=GIB), Capacity(cpus=8, mem=4 * GIB, gpus=1)
    asked = Resources(cpus=16, mem=GIB, gpus=1)
    assert shortage(asked, large) == Resources(cpus=16)
    assert unfit(asked, [small, large]) == (
        "it asks for 16 cpus, 1 gpu, 1 GiB of memory, and no living worker has that; "
        "there is 2 cpus, 1 GiB of memory or 8 cpus, 1 gpu, 4 GiB of memory"
    )
    assert unfit(Resources(cpus=8), [small, large]) is None
    assert unfit(asked, [small, None]) is None
    assert unfit(asked, []) is None
    assert unfit(None, [small]) is None


def test_a_command_is_told_what_it_was_given() -> None:
    """One that asked for nothing is told nothing, and sees the devices that its worker sees."""
    assert environment(Grant()) == {}
    given_ = Grant(Resources(cpus=2, mem=5, gpus=2), ("0", "7"))
    assert environment(given_) == {"QME_CPUS": "2", "QME_MEM": "5", "CUDA_VISIBLE_DEVICES": "0,7"}


WISHES = st.builds(
    Resources,
    cpus=st.integers(0, 4),
    mem=st.integers(0, 8).map(lambda n: n * GIB),
    gpus=st.integers(0, 3),
    exclusive=st.integers(0, 9).map(lambda n: n == 0),
)


@given(
    wishes=st.lists(WISHES, max_size=30), slots=st.integers(1, 6), chance=st.randoms(use_true_random=False)
)
def test_any_order_of_coming_and_going(wishes: list[Resources], slots: int, chance: Random) -> None:
    """Never more than there is, no device twice, everybody's turn comes, and nobody passes who has to wait."""
    packing = Packing[int](slots, SUPPLY)
    coming, running, line, began = deque(enumerate(wishes)), dict[int, Grant](), deque[int](), list[int]()
    while coming or running or line:
        if line and (grant := packing.take(line[0], wishes[line[0]])):
            running[line[0]] = grant
            began.append(line.popleft())
        elif coming and not line and (not running or chance.random() < 0.5):
            who, wish = coming.popleft()
            if grant := packing.take(who, wish):
                running[who] = grant
                began.append(who)
            else:
                packing.wait(who)
                line.append(who)
        elif running:
            gone = chance.choice(sorted(running))
            packing.free(gone)
            del running[gone]
        asked = [grant.asked for grant in running.values()]
        devices = [name for grant in running.values() for name in grant.gpus]
        assert len(running) <= slots
        assert sum(one.cpus for one in asked) <= SUPPLY.cpus
        assert sum(one.mem for one in asked) <= SUPPLY.mem
        assert len(set(devices)) == len(devices) == sum(one.gpus for one in asked)
        assert len(running) < 2 or not any(one.exclusive for one in asked)
    assert began == list(range(len(wishes)))

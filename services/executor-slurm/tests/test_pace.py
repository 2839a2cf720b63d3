"""When the poller asks again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qme_executor_slurm.pace import Limits, Pace

LIMITS = Limits()
MIDDLE = 0.5


def test_it_slows_down_while_nothing_happens():
    """Ten seconds after a submission, half as long again each time, a minute at most."""
    pace, waits = Pace(), []
    for _ in range(7):
        waits.append(round(pace.wait(LIMITS, MIDDLE), 1))
        pace = pace.after(changed=False)
    assert waits == [10, 15, 22.5, 33.8, 50.6, 60, 60]


def test_a_change_makes_it_look_again_soon():
    """News often come together."""
    assert Pace(quiet=9).after(changed=True).wait(LIMITS, MIDDLE) == 10


def test_failures_double_the_wait_up_to_ten_minutes():
    """A controller in trouble is left alone, and asked as before once it answers."""
    pace, waits = Pace(), []
    for _ in range(8):
        pace = pace.failed()
        waits.append(pace.wait(LIMITS, MIDDLE))
    assert waits == [20, 40, 80, 160, 320, 600, 600, 600]
    assert pace.after(changed=False).failures == 0


@pytest.mark.parametrize(("min_job_age", "longest"), [(300, 60), (60, 30), (4, 5)])
def test_a_cluster_that_forgets_soon_is_asked_sooner(min_job_age: float, longest: float):
    """Half of MinJobAge, but never more often than the floor allows."""
    assert LIMITS.within(min_job_age).longest == longest


@given(
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.floats(0, 1),
    st.floats(0, 1e4),
    st.floats(0, 1e4),
    st.floats(0, 1),
)
def test_the_floor_holds(
    quiet: int, failures: int, chance: float, first: float, longest: float, jitter: float
):
    """Whatever the settings and the chance, a login node is not asked more often."""
    limits = Limits(first=first, longest=longest, jitter=jitter)
    assert Pace(quiet, failures).wait(limits, chance) >= limits.floor


def test_workers_do_not_ask_in_step():
    """A tenth more or less, by chance."""
    assert (Pace().wait(LIMITS, 0), Pace().wait(LIMITS, 1)) == (9, 11)

"""What a person may write for a task's id."""

from __future__ import annotations

import pytest

from qme.client.selectors import Ambiguous, NoId, choose, parse
from qme.contracts.subjects import TaskKey
from qme.errors import NotFound

A = TaskKey("shell", "u-ann", "01990000-aaaa-7000-8000-0000deadbeef")
B = TaskKey("shell", "u-ann", "01990000-bbbb-7000-8000-00000000beef")
C = TaskKey("slurm", "login", "01990001-cccc-7000-8000-000000001234")
#: an executor whose name could be the beginning of a uuid
D = TaskKey("beef", "u-ann", "beef0000-dddd-7000-8000-111111111111")
KEYS = (A, B, C, D)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (A.taskid, A),
        (A.uuid, A),
        (A.uuid.upper(), A),
        (f" {A.uuid} ", A),
        (A.uuid.replace("-", ""), A),
        ("01990000-a", A),
        ("shell-01990000-a", A),
        ("deadbeef", A),
        ("dbeef", A),
        ("shell-0000beef", B),
        ("8000-00000000beef", B),
        ("01990001", C),
        ("slurm-0", C),
        ("1234", C),
        ("slurm-1234", C),
        ("b", D),
        ("beef-beef", D),
        ("beef-1111", D),
    ],
)
def test_a_unique_part_is_enough(text: str, meant: TaskKey) -> None:
    """Whole, beginning or end, with or without the executor, upper or lower case."""
    assert choose(parse(text), KEYS) == meant


@pytest.mark.parametrize("text", ["shell-0", "beef", "0199", "0"])
def test_a_part_of_several_ids_is_an_error_that_names_some(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(Ambiguous, match="more than one task: ") as caught:
        choose(parse(text), KEYS)
    assert caught.value.exit_code == 2


def test_only_a_few_candidates_are_named() -> None:
    """An error is one line, however many tasks there are."""
    many = [TaskKey("shell", "p", f"01990000-0000-7000-8000-{n:012x}") for n in range(50)]
    with pytest.raises(Ambiguous) as caught:
        choose(parse("0199"), many)
    assert caught.value.message.count("shell-") == 4


@pytest.mark.parametrize(
    "text", ["eef", "slurm-deadbeef", f"slurm-{A.uuid}", "ffff", "01990002", "7000-8000"]
)
def test_what_no_task_has_is_not_found(text: str) -> None:
    """Also an end of less than four digits, another executor's name, and a part from the middle."""
    with pytest.raises(NotFound, match="no such task"):
        choose(parse(text), KEYS)


def test_an_end_that_is_too_short_is_explained() -> None:
    """Whoever tried two digits learns how many it takes."""
    with pytest.raises(NotFound, match="4 digits"):
        choose(parse("ef"), [A])


@pytest.mark.parametrize(
    "text", ["", "banana", "shell-", "-", "shell", "0199 0000", "../x", "*", "9shell-12", "1234567-*", "é"]
)
def test_what_cannot_be_an_id_is_not_found_either(text: str) -> None:
    """It is told apart, since it may be an executor's name."""
    with pytest.raises(NoId):
        parse(text)

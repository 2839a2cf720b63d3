"""How a record holds the elements of an array: small, and nothing lost that there is room for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qme.contracts.elements import MOST_TEXT, Element, numbers, pack, ranges, unpack
from qme.errors import InvalidRequest

_ELEMENTS = st.lists(
    st.builds(
        Element,
        name=st.one_of(st.integers(0, 50).map(str), st.sampled_from(["+0", "+1"])),
        state=st.sampled_from(["RUNNING", "COMPLETED", "FAILED"]),
        outcome=st.sampled_from([None, "success", "failed"]),
        returncode=st.sampled_from([None, 0, 3]),
        node=st.sampled_from([None, "n1", "n2"]),
    ),
    unique_by=lambda one: one.name,
)


@given(_ELEMENTS)
def test_what_was_packed_is_unpacked(found: list[Element]):
    """Every element, with all that is said of it; in the order of its numbers."""
    assert sorted(unpack(pack(found)), key=lambda one: one.name) == sorted(found, key=lambda one: one.name)
    numbered = [int(one.name) for one in unpack(pack(found)) if one.name.isdecimal()]
    assert numbered == sorted(numbered)


def test_elements_that_stand_alike_are_one_group():
    """A thousand good ones on one node cost no more than one."""
    good = [Element(str(n), "COMPLETED", "success", 0, "n1") for n in range(1000)]
    bad = Element("1000", "FAILED", "failed", 3, "n2")
    groups = pack([*good, bad])["groups"]
    assert [group["elements"] for group in groups] == ["1000", "0-999"]
    assert groups[0] == {
        "elements": "1000",
        "state": "FAILED",
        "outcome": "failed",
        "returncode": 3,
        "node": "n2",
    }


def test_nodes_go_before_elements():
    """Where each good one ran is the first to be left out."""
    many = [Element(str(n), "COMPLETED", "success", 0, f"node{n:04}") for n in range(5000)]
    assert pack(many) == {
        "groups": [
            {"elements": "0-4999", "state": "COMPLETED", "outcome": "success", "returncode": 0, "node": None}
        ]
    }


def test_a_record_has_room_for_any_array():
    """What has no room is counted; the bad ones are the last to go."""
    many = [
        Element(str(n), "COMPLETED", "success", 0) if n % 2 else Element(str(n), "FAILED", "failed", n % 100)
        for n in range(100_000)
    ]
    packed = pack(many)
    kept = unpack(packed)
    assert len(str(packed["groups"])) <= MOST_TEXT + 1000
    assert len(kept) + packed["left_out"] == 100_000
    assert all(one.outcome == "failed" for one in kept)


@pytest.mark.parametrize(
    ("text", "meant"), [("3", [3]), ("3-5", [3, 4, 5]), ("0,4-6", [0, 4, 5, 6]), ("5,1,1-2", [1, 2, 5])]
)
def test_elements_as_people_write_them(text: str, meant: list[int]):
    """Numbers and ranges, in any order."""
    assert numbers(text) == meant
    assert numbers(ranges(meant)) == meant


@pytest.mark.parametrize("text", ["", "x", "5-3", "-1", "1-", "1;2", "1_000", "99999999", "0-9999999", "²"])
def test_what_names_no_elements_is_refused(text: str):
    """Said with the words that were meant; a range that no array has is not counted out."""
    with pytest.raises(InvalidRequest, match="say 3, 3-7 or 0,4-6"):
        numbers(text)


@pytest.mark.parametrize("array", [{}, {"groups": None}, {"total": 3}])
def test_records_without_groups(array: dict[str, object]):
    """Of an older version, or none yet."""
    assert unpack(array) == []

"""Versions of executors, as routing and workers compare them."""

from __future__ import annotations

import itertools

import pytest

from qme.contracts.executors import version_order

ORDERED = ["rc", "", "0.9", "1.0a2", "1.0rc1", "1.0rc2", "1.0", "1.0.0", "1.0.1", "1.2", "1.10", "2", "10"]


@pytest.mark.parametrize(("lower", "higher"), list(itertools.pairwise(ORDERED)))
def test_each_is_higher_than_the_one_before(lower: str, higher: str) -> None:
    """Numbers count as numbers, and letters come before the release that they announce."""
    assert version_order(lower) < version_order(higher)


def test_no_text_is_too_much() -> None:
    """Anybody may advertise anything."""
    assert version_order("9" * 10_000 + "\u0660é") > version_order("1")

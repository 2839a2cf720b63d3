"""Whose turn it is: which of the tasks that nothing else holds back are released now. Pure.

Everything that a submitter knows of waiting tasks meets here, in one function: what makes a task wait (its parents'
ends, a retry's delay) is over for all that come here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qme_submitter.waiting import Waiting


def choose(ready: Iterable[Waiting]) -> Sequence[Waiting]:
    """Give those that are released now, in this order; the others are asked about again when something changes."""
    return list(ready)

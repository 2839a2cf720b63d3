"""Answers that are kept for whoever asks the same again: live pages ask every two seconds, and mostly nothing changed.

Knows neither what is asked nor of whom; any thread may ask.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

#: seconds of a processor below which an answer costs nothing worth speaking of: it is always made anew after a change
CHEAP = 0.005
#: an answer may be older than the last change for so many times the seconds it cost, and for so many seconds at most
TIMES, LONGEST = 100.0, 10.0
#: answers that are kept
ROOM = 64


@dataclass(slots=True)
class _Place:
    turn: threading.Lock = field(default_factory=threading.Lock)
    value: Any = None
    version: int = -1
    made: float = 0.0
    stale: float = 0.0  #: seconds that it may be behind


class Kept:
    """Keeps each answer while nothing changes; a dear one a little longer, so that it can't take a processor.

    Nobody may change what is handed out: others get the same.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: OrderedDict[Hashable, _Place] = OrderedDict()
        self._guard = threading.Lock()

    def ask(self, key: Hashable, version: int, make: Callable[[], T]) -> T:
        """Give the answer for a key as of a version, or nearly; two who ask at once wait for the same one."""
        with self._guard:
            place = self._places.setdefault(key, _Place())
            self._places.move_to_end(key)
            while len(self._places) > ROOM:
                self._places.popitem(last=False)
        with place.turn:
            fresh = place.version == version or self._clock() - place.made < place.stale
            if place.version < 0 or not fresh:
                # The processor's time: what waits for its turn on a busy machine is not dear.
                begin = time.thread_time()
                place.value = make()
                cost = time.thread_time() - begin
                place.stale = 0.0 if cost < CHEAP else min(cost * TIMES, LONGEST)
                place.version, place.made = version, self._clock()
            answer: T = place.value
            return answer

"""`ExecutorSuite`: what every executor's tests begin with. The checks themselves are in `qme.conformance.checks`.

class TestLoud(ExecutorSuite):
    executor = LoudExecutor
    succeed = ["loud hello"]
    leaves = ["echo loud"]
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from qme.client.words import argv_of
from qme.conformance.checks import ALL, CheckOf, NotTried, Trial
from qme.executor.base import Executor, actions_of
from qme.settings import ExecutorSettings, options

#: headings of an executor's page
HEADINGS = ["Matches", "Usage", "Settings", "Actions"]
_CHECKED = set(options(ExecutorSettings))


class ExecutorSuite:
    """Inherit, and say which executor; commands as a person types them."""

    executor: ClassVar[type[Executor[Any]]]
    #: None: the defaults
    settings: ClassVar[ExecutorSettings | None] = None
    succeed: ClassVar[Sequence[str]] = ()
    fail: ClassVar[Sequence[str]] = ()
    stay: ClassVar[Sequence[str]] = ()
    leaves: ClassVar[Sequence[str]] = ()
    #: its page; None: it has none
    readme: ClassVar[Path | None] = None
    patience: ClassVar[float] = 60.0

    @pytest.mark.timeout(300)
    @pytest.mark.parametrize("check", ALL, ids=lambda check: check.__name__)
    def test_it_conforms(self, check: CheckOf, tmp_path: Path) -> None:
        """The executor keeps its side of the contract."""
        trial = Trial(
            executor=self.executor,
            settings=self.settings or self.executor.settings_type(),
            home=tmp_path,
            succeed=[argv_of(line) for line in self.succeed],
            fail=[argv_of(line) for line in self.fail],
            stay=[argv_of(line) for line in self.stay],
            leaves=[argv_of(line) for line in self.leaves],
            patience=self.patience,
        )
        try:
            asyncio.run(check(trial))  # type: ignore[arg-type] # each check is a coroutine function
        except NotTried as reason:
            pytest.skip(f"platform: {reason}")

    def test_its_page_names_everything(self) -> None:
        """The page has its four headings, every setting of its own, every action and every field."""
        if self.readme is None:
            pytest.skip("platform: it has no page")
        page = self.readme.read_text()
        assert re.findall(r"^## (.*)$", page, re.MULTILINE) == HEADINGS
        own = [key for key in options(self.executor.settings_type) if key not in _CHECKED]
        named = [*own, *(info.name for info in actions_of(self.executor)), *self.executor.fields]
        assert [name for name in named if f"`{name}`" not in page] == []

"""The rule on skipped tests, for every package's tests. No fixtures here: those ship in qme.testing, a plug-in.

On a developer's machine a test that lacks something (a compiler, a server) skips and says so. With ``CI``
set a missing part is a failure, since a group that silently stopped running looks like one that passes. A
test that cannot run on this kind of machine at all skips with a reason that begins with ``platform:``, and
that stays a skip.
"""

import os
from collections.abc import Generator

import pytest

pytest_plugins = ["qme.testing.fixtures"]

_ALLOWED = "platform:"


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not os.environ.get("CI") or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.removeprefix("Skipped: ").startswith(_ALLOWED):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} skipped where nothing may be missing (CI is set): {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a test, or of its fixtures, into a failure."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole file into a failure."""
    report = yield
    _refuse_skip(report)
    return report

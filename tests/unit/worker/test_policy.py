"""The rules of a worker as a table: what each takes and refuses, and what the refusal says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qme.errors import SettingsError
from qme.executor.policy import Facts, refusal, rules
from qme.settings import ExecutorSettings, load_executor_settings

LS = "/usr/bin/ls"


def _settings(tmp_path: Path, **values: str) -> ExecutorSettings:
    return load_executor_settings("shell", ExecutorSettings, home=tmp_path, flags=values, env={}).settings


def _facts(*words: str, program: str | None = LS, **more: Any) -> Facts:
    return Facts("ann", words or ("ls",), program=program, **more)


IN_A_SHELL = {"shell": True}
ALLOW = "/usr/bin/(ls|cat); /usr/bin/rsync -[av]+ /data/[a-z]+"


@pytest.mark.parametrize(
    ("values", "facts", "says"),
    [
        ({}, _facts(program=None), None),
        ({"users": "ann,bob"}, _facts(), None),
        ({"users": "bob"}, _facts(), "users: it takes no tasks of ann"),
        ({"allow": ALLOW}, _facts("ls", "-l"), None),
        ({"allow": ALLOW}, _facts("rsync", "-av", "/data/x", program="/usr/bin/rsync"), None),
        (
            {"allow": ALLOW},
            _facts("rsync", "-av", "--rsh=sh", program="/usr/bin/rsync"),
            "allow: /usr/bin/rsync may not be given '--rsh=sh'",
        ),
        (
            {"allow": ALLOW},
            _facts("rsync", "/data/x\n", program="/usr/bin/rsync"),
            "allow: /usr/bin/rsync may not be given '/data/x\\n'",
        ),
        (
            {"allow": ALLOW},
            _facts("env", "ls", program="/usr/bin/env"),
            "allow: the program /usr/bin/env is not among those it runs",
        ),
        ({"allow": ALLOW}, _facts(program="/usr/bin/lsof"), "allow: the program /usr/bin/lsof is not among"),
        ({"allow": ALLOW}, _facts(program="/tmp/usr/bin/ls"), "allow: the program /tmp/usr/bin/ls is not"),
        ({"allow": ALLOW}, _facts(program=None), "allow: there is no program 'ls'"),
        (
            {"allow": ".*"},
            _facts("ls; rm -r /", program=None, **IN_A_SHELL),
            "allow: it takes no commands for a shell, give the words one by one: 'ls; rm -r /'",
        ),
        ({"allow": ALLOW}, _facts(variables=("LD_PRELOAD",)), "variables: a task may not set LD_PRELOAD"),
        ({"allow": ALLOW, "variables": "OMP_*"}, _facts(variables=("OMP_NUM_THREADS",)), None),
        (
            {"variables": "OMP_*,LANG"},
            _facts(variables=("LANGUAGE",)),
            "variables: a task may not set LANGUAGE",
        ),
        ({"variables": "none"}, _facts(variables=("A",)), "variables: a task may not set A"),
        ({}, _facts(variables=("LD_PRELOAD",)), None),
        ({"directories": "/data:/scratch"}, _facts(cwd=Path("/scratch/ann")), None),
        ({"directories": "/data:/scratch"}, _facts(cwd=None), None),
        (
            {"directories": "/data:/scratch"},
            _facts(cwd=Path("/data2")),
            "directories: the working folder /data2 is not below /data, /scratch",
        ),
        (
            {"deny": r"rm\s+-rf \bsudo\b"},
            _facts("rm", "-rf", "x", program="/bin/rm"),
            "deny: 'rm -rf x' matches",
        ),
        ({"deny": "^/usr/bin/ls"}, _facts("ls"), "deny: '/usr/bin/ls' matches '^/usr/bin/ls'"),
        ({"deny": "^ls"}, _facts("env", "ls", program="/usr/bin/env"), None),  # a guard rail, no wall
    ],
)
def test_what_is_refused(tmp_path: Path, values: dict[str, str], facts: Facts, says: str | None) -> None:
    """The rule and the value are named; the first rule that is broken counts."""
    told = refusal(_settings(tmp_path, **values), facts)
    assert (told or "").startswith(f"refused by this worker's rule {says}" if says else "")
    assert (told is None) == (says is None)


def test_rules_are_shown_as_they_are_written(tmp_path: Path) -> None:
    """What is shown reads back the same, and what is not set is not shown."""
    values = {"allow": ALLOW, "variables": "none", "directories": "/a:/b", "max_runtime": "90m"}
    shown = rules(_settings(tmp_path, **values))
    assert shown == values
    assert rules(_settings(tmp_path, **shown)) == shown


@pytest.mark.parametrize(
    ("key", "value"),
    [("allow", "(?=x)"), ("allow", ";"), ("deny", "["), ("directories", "data"), ("users", "a,,b")],
)
def test_a_rule_that_cannot_be_meant_stops_the_worker(tmp_path: Path, key: str, value: str) -> None:
    """A pattern that RE2 refuses, a relative folder, an empty name."""
    with pytest.raises(SettingsError, match=key):
        _settings(tmp_path, **{key: value})

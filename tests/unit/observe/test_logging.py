"""Logs: one JSON object a line for services, readable lines for people, and never a secret."""

import asyncio
import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from qme import redact
from qme.observe.logging import bind_task, configure, get_logger

SEED = "SU" + "A" * 56


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def out() -> io.StringIO:
    """JSON logs of a service, at level info."""
    stream = io.StringIO()
    configure("info", "json", stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Every line as the object it has to be."""
    return [json.loads(line, parse_constant=pytest.fail) for line in stream.getvalue().splitlines()]


def test_a_line_has_what_a_log_store_needs(out: io.StringIO) -> None:
    """Event, level, logger, time in UTC, and the facts as they were given."""
    get_logger("qme.worker").info("task.started", attempt=1)
    (line,) = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "task.started", "level": "info", "logger": "qme.worker", "attempt": 1}


def test_the_standard_library_comes_out_the_same_way(out: io.StringIO) -> None:
    """Libraries, and our modules that load without structlog, log through `logging`."""
    logging.getLogger("nats.aio").warning("lost %s", "nats://a:b@hub:1", extra={"server": "hub"})
    (line,) = lines(out)
    assert line.pop("timestamp")
    line.pop("message", None)  # left in the record by pytest's own handler
    assert line == {
        "event": "lost nats://***@hub:1",
        "level": "warning",
        "logger": "nats.aio",
        "server": "hub",
    }


def test_warnings_are_logged(out: io.StringIO) -> None:
    """A warning between JSON lines would be no JSON line."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        configure("info", "json", out)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert [line["logger"] for line in lines(out)] == ["py.warnings"]
    logging.captureWarnings(capture=False)


@pytest.mark.parametrize(("level", "seen"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_holds_for_both_kinds_of_loggers(level: str, seen: int) -> None:
    """What is below the level is not logged."""
    stream = io.StringIO()
    configure(level, "json", stream)
    for name in ("debug", "info", "warning", "error"):
        getattr(get_logger("a"), name)("one.kind")
        getattr(logging.getLogger("b"), name)("other.kind")
    assert len(lines(stream)) == 2 * seen


def test_configuring_again_replaces(out: io.StringIO) -> None:
    """A second call moves the logs; no line comes out twice."""
    log = get_logger("qme")
    log.info("first.place")
    second = io.StringIO()
    configure("info", "json", second)
    log.info("second.place")
    assert [line["event"] for line in lines(out)] == ["first.place"]
    assert [line["event"] for line in lines(second)] == ["second.place"]


async def test_each_coroutine_names_its_own_task(out: io.StringIO) -> None:
    """The id is bound where the work is done, and gone afterwards."""
    both = asyncio.Barrier(2)

    async def work(uid: str) -> None:
        with bind_task(uid):
            await both.wait()
            get_logger("qme").info("task.started", mine=uid)
            logging.getLogger("library").info("library.said", extra={"mine": uid})

    await asyncio.gather(work("shell-1"), work("shell-2"))
    get_logger("qme").info("worker.idle")
    *bound, last = lines(out)
    assert sorted(line["task"] for line in bound) == ["shell-1", "shell-1", "shell-2", "shell-2"]
    assert all(line["task"] == line["mine"] for line in bound)
    assert "task" not in last


@pytest.mark.parametrize(
    "fact",
    [
        {"password": "hunter2"},
        {"nats_creds": "hunter2"},
        {"auth_tokens": ["hunter2"]},
        {"user_seed": b"hunter2"},
        {"env": {"API": "hunter2"}},
        {"request": {"headers": {"Authorization": "Bearer hunter2"}}},
        {"tries": [{"secret": "hunter2"}]},
        {"url": "nats://ann:hunter2@hub:4222"},
        {"url": "tls://hunter2@hub:4222"},
        {"why": "login with password=hunter2 failed"},
        {"why": "QME_TOKEN: hunter2"},
        {"error": ValueError("no route to nats://ann:hunter2@hub")},
        {"path": Path("/x?token=hunter2")},
    ],
    ids=str,
)
def test_secrets_are_hidden(fact: dict[str, Any], out: io.StringIO) -> None:
    """By the name of the field, or by their shape anywhere in a text."""
    get_logger("qme").info("bus.connecting", **fact)
    (line,) = lines(out)
    assert "hunter2" not in out.getvalue()
    assert redact.HIDDEN in str(line)


def test_secrets_in_messages_and_tracebacks_are_hidden(out: io.StringIO) -> None:
    """The event's own text, and what an exception says."""
    try:
        raise OSError(f"bad key {SEED}")
    except OSError:
        get_logger("qme").exception("connect nats://ann:hunter2@hub")
        logging.getLogger("x").exception("token=hunter2")
    first, second = lines(out)
    assert "Traceback" in first["exception"]
    assert "OSError: bad key ***" in second["exception"]
    assert "hunter2" not in out.getvalue()
    assert SEED not in out.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "task shell-0199",
        "a@b.org",
        "https://docs/x@y",
        "tokens left: 3",
        "src://a/b@c",
        "a token of thanks",
        "secretary",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """Hiding too much makes a log useless."""
    assert redact.text(text) == text


@pytest.mark.parametrize("name", ["returncode", "environment_name", "tokenizer", "seeded", "event", "path"])
def test_names_that_only_look_secret_are_not_hidden(name: str) -> None:
    """Whole words count."""
    assert not redact.is_secret(name)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


@example(event="a.b", value=float("nan"))
@example(event="a.b", value=[float("-inf")])
@given(event=st.text(st.characters()), value=VALUES)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_line_is_json(event: str, value: object) -> None:
    """Whatever is logged: NaN, bytes, half surrogates, line ends, keys that are no text."""
    stream = io.StringIO()
    configure("info", "json", stream)
    get_logger("qme").info(event, value=value, half="\udcff")
    (line,) = lines(stream)
    assert line["level"] == "info"


def test_auto_is_for_people_on_a_terminal_only() -> None:
    """A service's stderr is a pipe or the journal, and gets JSON."""
    pipe, terminal = io.StringIO(), Terminal()
    configure("info", "auto", pipe)
    get_logger("qme").info("task.started")
    configure("info", "auto", terminal)
    get_logger("qme").info("task.started")
    assert lines(pipe)
    assert not terminal.getvalue().startswith("{")


@pytest.mark.parametrize(
    ("stream", "no_color", "coloured"),
    [(Terminal(), "", True), (Terminal(), "1", False), (io.StringIO(), "", False)],
    ids=["terminal", "NO_COLOR", "pipe"],
)
def test_colours_need_a_terminal(
    stream: io.StringIO, no_color: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nobody who said that they don't want them."""
    monkeypatch.setenv("NO_COLOR", no_color)
    configure("info", "console", stream)
    get_logger("qme").info("task.started", attempt=1)
    assert ("\x1b[" in stream.getvalue()) is coloured
    assert "task.started" in stream.getvalue()


def test_text_from_tasks_does_not_steer_the_terminal() -> None:
    """An escape sequence in a command is shown, not obeyed."""
    stream = io.StringIO()
    configure("info", "console", stream)
    get_logger("qme").info("task.\x1b[31mstarted", command="\x1b]0;x\x07\x9b2J")
    logging.getLogger("x").error("bell \a")
    assert not set("\x1b\x07\x9b") & set(stream.getvalue())
    assert r"\x1b[31m" in stream.getvalue()


def test_a_console_traceback_shows_no_variables() -> None:
    """Local variables hold secrets."""
    stream = io.StringIO()
    configure("info", "console", stream)
    password = "hunter2"  # noqa: F841 - what a traceback with locals would print
    try:
        raise RuntimeError("plain")
    except RuntimeError:
        get_logger("qme").exception("worker.failed")
    printed = stream.getvalue()
    assert "RuntimeError: plain" in printed
    assert 'password = "hunter2"' not in printed


def test_stderr_is_the_default_and_stdout_stays_clean() -> None:
    """Stdout is for data."""
    program = "from qme.observe.logging import configure, get_logger\nconfigure(); get_logger('q').info('task.started')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=50
    )
    assert done.stdout == ""
    assert json.loads(done.stderr)["event"] == "task.started"

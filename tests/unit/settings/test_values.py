"""Kinds of values: what is read, what is refused, how it is shown."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qme.settings import BOOLEAN, INTEGER, NUMBER, PATH, Kind, Settings, choice, duration, options, size
from qme.settings.values import SERVERS


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (duration(), "30", 30.0),
        (duration(), "30s", 30.0),
        (duration(), "0.5s", 0.5),
        (duration(), "5m", 300.0),
        (duration(), "8 h", 28_800.0),
        (duration(), "7D", 604_800.0),
        (duration(zero="never"), "never", 0.0),
        (duration(zero="never"), "0", 0.0),
        (size(), "4096", 4096),
        (size(), "64MiB", 64 << 20),
        (size(), "1GB", 10**9),
        (size(), "512k", 512_000),
        (size(), "1.5KiB", 1536),
        (BOOLEAN, "Yes", True),
        (BOOLEAN, "off", False),
        (INTEGER, "-3", -3),
        (NUMBER, "0.25", 0.25),
        (choice("a", "b"), "B", "b"),
        (PATH, "/a/b", Path("/a/b")),
        (PATH, "~/x", Path.home() / "x"),
        (SERVERS, "nats://a:4222,tls://b:4222", "nats://a:4222,tls://b:4222"),
        (SERVERS, "localhost:4222", "localhost:4222"),
    ],
)
def test_reads(kind: Kind[Any], text: str, value: object) -> None:
    """Each kind reads the spellings that its help promises."""
    assert kind.parse(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (duration(), "soon"),
        (duration(), "0"),
        (duration(), "-5s"),
        (duration(), "5 weeks"),
        (duration(), "1e3"),
        (duration(), "٣s"),
        (duration(), "9" * 400),
        (duration(), "101" + "0" * 3 + "d"),
        (size(), "0"),
        (size(), "12 parsecs"),
        (size(), "1EiB"),
        (size(1024, 4096), "8KiB"),
        (BOOLEAN, "maybe"),
        (INTEGER, "2.5"),
        (INTEGER, "9" * 13),
        (NUMBER, "nan"),
        (choice("a", "b"), "c"),
        (PATH, ""),
        (PATH, "~no-such-user-here/x"),
        (SERVERS, "http://a:4222"),
        (SERVERS, "nats://"),
        (SERVERS, "nats://a:4222 or so"),
    ],
)
def test_refuses(kind: Kind[Any], text: str) -> None:
    """What a kind can't read is a ValueError, never a wrong value or another exception."""
    with pytest.raises(ValueError):  # noqa: PT011 - the message is the loader's
        kind.parse(text)


@given(st.integers(1, 10**9).map(lambda tenths: tenths / 10))
def test_a_shown_duration_reads_back_the_same(seconds: float) -> None:
    """`qme config show` prints times that can be pasted into a file."""
    assert duration().parse(duration().show(seconds)) == seconds


@given(st.integers(1, 2**50))
def test_a_shown_size_reads_back_the_same(amount: int) -> None:
    """`qme config show` prints sizes that can be pasted into a file."""
    assert size().parse(size().show(amount)) == amount


def test_every_default_is_a_value_its_own_kind_accepts(tmp_path: Path) -> None:
    """No default of the table would be refused if somebody wrote it down."""
    settings = Settings(home=tmp_path)
    for key, option in options(Settings).items():
        value = getattr(settings, key)
        assert option.summary, key
        if value is not None:
            assert option.kind.parse(option.kind.show(value)) == value, key
        else:
            assert option.optional, key

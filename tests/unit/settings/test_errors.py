"""Every mistake in a setting gives one line that says where it is and what is allowed."""

import os
import stat
from pathlib import Path

import pytest

from qme.errors import SettingsError
from qme.settings import load

DURATION = "a time such as 30, 0.5s, 5m, 8h or 7d"

IN_USER_CONFIG = {
    "bad duration": ("[qme]\nlease = soon", "{config} [qme] lease = 'soon': allowed is " + DURATION),
    "zero duration": ("[qme]\nlease = 0", "{config} [qme] lease = '0': allowed is " + DURATION),
    "word for zero": (
        "[qme]\nidle_stop = nie",
        "{config} [qme] idle_stop = 'nie': allowed is " + DURATION + " or never",
    ),
    "bad size": (
        "[qme]\nlog_limit = big",
        "{config} [qme] log_limit = 'big': allowed is a size such as 4096, 512k, 1GB (1000s), 64MiB "
        "(1024s), from 0 to 4194304TiB",
    ),
    "size out of bounds": (
        "[qme]\nlog_chunk = 1MiB",
        "{config} [qme] log_chunk = '1MiB': allowed is a size such as 4096, 512k, 1GB (1000s), 64MiB (1024s), "
        "from 1KiB to 240KiB",
    ),
    "bad number": (
        "[qme]\nreplicas = 6",
        "{config} [qme] replicas = '6': allowed is a whole number from 1 to 5",
    ),
    "bad switch": ("[qme]\nembedded = maybe", "{config} [qme] embedded = 'maybe': allowed is true | false"),
    "bad word": (
        "[qme]\nlog_format = xml",
        "{config} [qme] log_format = 'xml': allowed is auto | console | json",
    ),
    "bad server": (
        "[qme]\nnats_url = http://ann:hunter2@hub",
        "{config} [qme] nats_url = 'http://***@hub': allowed is nats://HOST:PORT or tls://HOST:PORT, several "
        "with commas",
    ),
    "bad host": ("[qme]\nhost = ../up", "{config} [qme] host = '../up': allowed is a host name"),
    "relative path": (
        "[qme]\nworkdir = work",
        "{config} [qme] workdir = 'work': allowed is an absolute path, or one that starts with ~",
    ),
    "empty": ("[qme]\nlease =", "{config} [qme] lease = '': allowed is " + DURATION),
    "unknown key": ("[qme]\nleese = 3", "{config} [qme] leese: no such setting; did you mean lease?"),
    "unknown section": (
        "[qmee]\nlease = 3",
        "{config}: unknown section [qmee]; allowed: [qme] and [executor.NAME]",
    ),
    "default section": (
        "[DEFAULT]\nlease = 3",
        "{config}: unknown section [DEFAULT]; allowed: [qme] and [executor.NAME]",
    ),
    "home in it": (
        "[qme]\nhome = /x",
        "{config} [qme] home: a file can't move the folder it is found in; set QME_HOME",
    ),
    "no value": ("[qme]\nlease", "{config} line 2: not 'key = value': 'lease'"),
    "no section": ("lease = 3", "{config} line 1: 'lease = 3' stands before any [section]"),
    "key twice": ("[qme]\nlease = 3\nlease = 4", "{config} line 3: [qme] lease is set twice"),
    "section twice": ("[qme]\n[qme]", "{config} line 2: [qme] is there twice"),
    "lease not above heartbeat": (
        "[qme]\nlease = 10s",
        "heartbeat (10s, default) must be shorter than lease (10s, {config} [qme] lease)",
    ),
}


@pytest.mark.parametrize("case", IN_USER_CONFIG)
def test_a_mistake_in_the_config_is_named(case: str, home: Path, env: dict[str, str]) -> None:
    """File, section, key, value and what is allowed, on one line, with exit code 2."""
    text, message = IN_USER_CONFIG[case]
    (home / "config").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(env=env)
    assert caught.value.message == message.format(config=home / "config")
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 2


def test_a_mistake_in_the_environment_names_the_variable(env: dict[str, str]) -> None:
    """The variable is what one has to mend."""
    with pytest.raises(SettingsError, match=r"^QME_LEASE = 'soon': allowed is a time"):
        load(env={**env, "QME_LEASE": "soon"})


def test_a_mistake_in_a_flag_names_the_flag(env: dict[str, str]) -> None:
    """As it was typed, with dashes."""
    with pytest.raises(SettingsError, match=r"^--connect-timeout = 'x': allowed is a time"):
        load({"connect_timeout": "x"}, env)


def test_a_mistake_of_the_site_can_be_worked_around(site: Path, env: dict[str, str]) -> None:
    """A value that a higher layer overrides is not looked at."""
    site.write_text("[qme]\nlease = soon\n")
    with pytest.raises(SettingsError, match=f"^{site}"):
        load(env=env)
    assert load(env={**env, "QME_LEASE": "40"}).settings.lease == 40.0


def test_an_unknown_key_far_from_any_lists_what_there_is(home: Path, env: dict[str, str]) -> None:
    """Where nothing is near, all keys are named."""
    (home / "config").write_text("[qme]\nzzzzzz = 1\n")
    with pytest.raises(SettingsError, match="no such setting; allowed: home, host, user, pool, "):
        load(env=env)


def test_a_config_that_is_not_text(home: Path, env: dict[str, str]) -> None:
    """Bytes that are no UTF-8 are named as such."""
    (home / "config").write_bytes(b"[qme]\npool = \xff\n")
    with pytest.raises(SettingsError, match="it is not UTF-8 text"):
        load(env=env)


def test_a_config_that_is_a_folder(home: Path, env: dict[str, str]) -> None:
    """What can't be read is an error, not an absent file."""
    (home / "config").mkdir()
    with pytest.raises(SettingsError, match="Is a directory"):
        load(env=env)


@pytest.mark.skipif(os.getuid() == 0, reason="platform: root may read everything")
def test_a_config_without_the_right_to_read_it(home: Path, env: dict[str, str]) -> None:
    """A config that belongs to somebody else is an error: going on would use other settings than meant."""
    (home / "config").touch(mode=stat.S_IWUSR)
    with pytest.raises(SettingsError, match=r"Permission denied$"):
        load(env=env)


def test_a_home_that_is_a_file(tmp_path: Path, env: dict[str, str]) -> None:
    """QME_HOME has to be a folder."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"cannot read .*/file/config: Not a directory"):
        load(env={**env, "QME_HOME": str(tmp_path / "file")})

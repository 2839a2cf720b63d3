"""Writing one value into the config: nothing else in it changes, and nobody's write is lost."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from qme.errors import SettingsError
from qme.settings import files, load, set_value

OLD = """\
# mine
[qme]
; the hub
nats_url = nats://hub:4222
pool = a
    b

# about slurm
[executor.slurm]
account = chem
"""


def mode(path: Path) -> int:
    """Permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_value_makes_a_private_home(tmp_path: Path) -> None:
    """QME_HOME is 0700 and the config 0600, whatever the umask."""
    home = tmp_path / "new" / "home"
    previous = os.umask(0)
    try:
        set_value(home, "shell", "slots", "4")
    finally:
        os.umask(previous)
    assert (home / "config").read_text() == "[executor.shell]\nslots = 4\n"
    assert (mode(home), mode(home / "config")) == (0o700, 0o600)


@pytest.mark.parametrize(
    ("executor", "key", "value", "old", "new"),
    [
        (None, "nats_url", "tls://x:1", "nats_url = nats://hub:4222\n", "nats_url = tls://x:1\n"),
        (None, "pool", "c", "pool = a\n    b\n", "pool = c\n"),
        (None, "lease", "40s", "    b\n\n", "    b\nlease = 40s\n\n"),
        ("slurm", "account", "bio", "account = chem\n", "account = bio\n"),
        ("slurm", "q-o-s", "x=y; #1", "account = chem\n", "account = chem\nq_o_s = x=y; #1\n"),
        ("shell", "slots", "4", "account = chem\n", "account = chem\n\n[executor.shell]\nslots = 4\n"),
    ],
)
def test_only_that_value_changes(
    home: Path, executor: str | None, key: str, value: str, old: str, new: str
) -> None:
    """Comments, order and other values stay as people wrote them."""
    (home / "config").write_text(OLD)
    set_value(home, executor, key, value)
    assert (home / "config").read_text().replace("\n\n\n", "\n\n") == OLD.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[qme]\n  lease = 30\n  pool = a\n", "[qme]\n  lease = 40\n  pool = a\n"),
        ("[qme]\nlease: 30 \n", "[qme]\nlease = 40\n"),
        ("[qme] ; mine\nLease=30\n\n\n", "[qme] ; mine\nlease = 40\n"),
        ("[qme]\npool = a\n  lease = 3\n", "[qme]\npool = a\n  lease = 3\nlease = 40\n"),
        ("[qme]\n# lease = 3\n", "[qme]\nlease = 40\n# lease = 3\n"),
        ("[qme]\r\nlease = 30\r\n", "[qme]\nlease = 40\n"),
        ("[qme]\npool = a\x0bb\x85c", "[qme]\npool = a\x0bb\x85c\nlease = 40\n"),
        ("\n", "[qme]\nlease = 40\n"),
    ],
)
def test_any_way_of_writing_the_file_is_understood(home: Path, old: str, new: str) -> None:
    """Indented keys, colons, capitals, comments and continued lines, as configparser reads them."""
    (home / "config").write_text(old, newline="")
    set_value(home, None, "lease", "40")
    assert (home / "config").read_text() == new


def test_what_would_read_back_otherwise_is_refused(home: Path) -> None:
    """A new line that would swallow the next section is found out before anything is lost."""
    old = "[qme]\n  [executor.slurm]\n  account = chem\n"
    (home / "config").write_text(old)
    with pytest.raises(SettingsError, match=r"\[qme\] can't hold lease as given"):
        set_value(home, None, "lease", "40")
    assert (home / "config").read_text() == old


def test_setting_a_value_again_changes_nothing(home: Path) -> None:
    """It is safe to repeat."""
    set_value(home, None, "lease", "40s")
    once = (home / "config").read_text()
    set_value(home, None, "lease", "40s")
    assert (home / "config").read_text() == once


def test_what_is_written_is_what_is_loaded(home: Path, env: dict[str, str]) -> None:
    """The next command sees the value, and where it stands."""
    set_value(home, None, "Log-Limit", "1MiB")
    loaded = load(env=env)
    assert loaded.settings.log_limit == 1 << 20
    assert str(loaded.origins["log_limit"]) == f"{home}/config [qme] log_limit"


@pytest.mark.parametrize(
    ("executor", "key", "value", "message"),
    [
        (None, "lease", "soon", r"config \[qme\] lease = 'soon': allowed is a time"),
        (None, "leese", "3", "did you mean lease"),
        (None, "home", "/x", "set QME_HOME"),
        ("shell", "slots", "4\n[qme]\nlease = 1", "a value is one line of text"),
        ("shell", "a b", "4", "can't be a key"),
        ("shell", "[x", "4", "can't be a key"),
        ("sh]ell", "slots", "4", "can't be an executor's name"),
        ("shell", "slots", "\ud800", "it would not be UTF-8 text"),
    ],
)
def test_a_value_that_can_not_be_is_refused(
    home: Path, executor: str | None, key: str, value: str, message: str
) -> None:
    """A refused value leaves the file as it was."""
    (home / "config").write_text(OLD)
    with pytest.raises(Exception, match=message) as caught:
        set_value(home, executor, key, value)
    assert getattr(caught.value, "exit_code", None) == 2
    assert (home / "config").read_text() == OLD


def test_a_broken_config_is_not_written_over(home: Path) -> None:
    """What people wrote by hand is mended by hand."""
    (home / "config").write_text("[qme\nlease")
    with pytest.raises(SettingsError, match="stands before any"):
        set_value(home, None, "lease", "40")
    assert (home / "config").read_text() == "[qme\nlease"


def test_a_config_that_is_a_link_stays_one(home: Path, tmp_path: Path) -> None:
    """Dotfiles that live elsewhere are written where they live."""
    (tmp_path / "dotfiles").mkdir()
    (home / "config").symlink_to(tmp_path / "dotfiles" / "qme")
    set_value(home, None, "lease", "40")
    assert (home / "config").is_symlink()
    assert (tmp_path / "dotfiles" / "qme").read_text() == "[qme]\nlease = 40\n"


def test_a_home_that_can_not_be_made(tmp_path: Path) -> None:
    """One line, exit code 2."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"^cannot write .*/file/home/config: Not a directory$"):
        set_value(tmp_path / "file" / "home", None, "lease", "40")


def test_a_full_disk_leaves_the_old_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new text is written beside the old one, and removed again."""
    set_value(home, None, "lease", "40")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingsError, match="No space left on device"):
        set_value(home, None, "lease", "50")
    assert (home / "config").read_text() == "[qme]\nlease = 40\n"
    assert sorted(path.name for path in home.iterdir()) == ["config", "config.lock"]


def test_writers_at_the_same_time_all_get_through(home: Path) -> None:
    """Five processes with twenty values each lose none of them."""
    program = (
        "import sys; from pathlib import Path; from qme.settings import set_value\n"
        "for n in range(20): set_value(Path(sys.argv[1]), 'shell', f'key_{sys.argv[2]}_{n}', str(n))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(home), str(n)]) for n in range(5)]
    assert [writer.wait(timeout=50) for writer in writers] == [0] * 5
    section = files.read(home / "config")["executor.shell"]
    assert section == {f"key_{writer}_{n}": str(n) for writer in range(5) for n in range(20)}

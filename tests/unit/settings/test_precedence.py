"""Which layer wins, and that every value knows where it came from."""

import os
import pwd
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from qme.errors import InvalidRequest, SettingsError
from qme.settings import (
    ExecutorSettings,
    Loaded,
    Settings,
    duration,
    load,
    load_executor_settings,
    option,
)

LAYERS = ("default", "site", "user", "environment", "flag")


@dataclass(frozen=True, kw_only=True)
class Coffee(ExecutorSettings):
    """Settings as a stranger's executor declares them."""

    cups: int = 1
    milk: bool = False
    strength: float = 0.5
    bean: str | None = None
    shelf: Path = Path("/shelf")
    brew: float = option(240.0, duration(), "how long a cup takes")


@pytest.mark.parametrize("top", range(len(LAYERS)))
def test_the_highest_layer_wins(top: int, home: Path, site: Path, env: dict[str, str]) -> None:
    """Flag > environment > user's config > site's config > default, and the origin names the winner."""
    if top >= 1:
        site.write_text("[qme]\nlease = 101\n")
    if top >= 2:
        (home / "config").write_text("[qme]\nlease = 102\n")
    if top >= 3:
        env["QME_LEASE"] = "103"
    loaded = load({"lease": "104" if top >= 4 else None}, env)
    assert loaded.settings.lease == (30.0, 101.0, 102.0, 103.0, 104.0)[top]
    assert loaded.origins["lease"].layer == LAYERS[top]
    assert (
        str(loaded.origins["lease"])
        == (
            "default",
            f"{site} [qme] lease",
            f"{home}/config [qme] lease",
            "QME_LEASE",
            "--lease",
        )[top]
    )


@pytest.mark.parametrize("top", range(len(LAYERS)))
def test_the_same_holds_for_an_executor(top: int, home: Path, site: Path, env: dict[str, str]) -> None:
    """An executor's settings have the same layers, in a section and with a prefix of its own."""
    if top >= 1:
        site.write_text("[executor.coffee]\ncups = 101\n")
    if top >= 2:
        (home / "config").write_text("[executor.coffee]\ncups = 102\n[executor.tea]\nleaves = 3\n")
    if top >= 3:
        env["QME_COFFEE_CUPS"] = "103"
    flags = {"cups": "104"} if top >= 4 else None
    loaded = load_executor_settings("coffee", Coffee, home=home, flags=flags, env=env)
    assert loaded.settings.cups == (1, 101, 102, 103, 104)[top]
    assert loaded.origins["cups"].layer == LAYERS[top]


def test_an_executors_plain_annotations_are_enough(home: Path, env: dict[str, str]) -> None:
    """Plain types are read without being declared; what the base brings is there too."""
    (home / "config").write_text(
        "[executor.coffee]\nmilk = yes\nstrength = 0.75\nbean = robusta\nbrew = 5m\nSlots = 4\nshelf = ~/top\n"
    )
    settings = load_executor_settings("coffee", Coffee, home=home, env=env).settings
    assert settings == Coffee(
        milk=True, strength=0.75, bean="robusta", brew=300.0, slots=4, shelf=Path.home() / "top"
    )


def test_a_field_type_without_a_kind_is_the_authors_error(home: Path, env: dict[str, str]) -> None:
    """A field that can't be read from text is told to the author, not to the user."""

    @dataclass(frozen=True, kw_only=True)
    class Odd(ExecutorSettings):
        beans: tuple[str, ...] = ()

    with pytest.raises(TypeError, match=r"Odd\.beans: declare a tuple"):
        load_executor_settings("odd", Odd, home=home, env=env)


def test_a_variable_has_one_meaning(home: Path, env: dict[str, str]) -> None:
    """QME_LOG_LEVEL has one meaning, whatever an executor is called."""

    @dataclass(frozen=True, kw_only=True)
    class Log(ExecutorSettings):
        level: int = 1

    with pytest.raises(SettingsError, match="executor log: QME_LOG_LEVEL is the general setting log_level"):
        load_executor_settings("log", Log, home=home, env=env)


def test_an_executors_name_is_checked(home: Path, env: dict[str, str]) -> None:
    """A name that could not be an executor's is refused before it becomes a section or a variable."""
    with pytest.raises(InvalidRequest, match="can't be an executor's name"):
        load_executor_settings("no]t", Coffee, home=home, env=env)


def test_every_setting_has_an_origin_and_can_be_set(env: dict[str, str]) -> None:
    """Every key of the table is known to `qme config show` and to the environment."""
    loaded = load(env=env)
    keys = [entry.name for entry in fields(Settings)]
    assert [key for key, _, _ in loaded.rows()] == keys
    assert set(loaded.origins) == set(keys)
    for key, text, _ in loaded.rows():
        if text:
            assert load(env={**env, f"QME_{key.upper()}": text}).origins[key].layer == "environment"


def test_defaults_that_follow_from_others(home: Path, env: dict[str, str]) -> None:
    """The stack's folder is one per host, since homes are shared between hosts; QME_LOCAL_DIR moves it."""
    settings = load(env={**env, "QME_HOST": "login1"}).settings
    assert settings.local_dir == home / "local" / "login1"
    assert settings.workdir == home / "work"
    assert load(env={**env, "QME_LOCAL_DIR": "/var/tmp/q"}).settings.local_dir == Path("/var/tmp/q")
    assert load(env=env).settings.host == os.uname().nodename.lower()


def test_the_user_is_the_account_not_what_the_environment_says(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """$USER and $LOGNAME are what anybody says they are."""
    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setenv("LOGNAME", "somebody-else")
    assert load(env=env).settings.user == pwd.getpwuid(os.getuid()).pw_name


def test_the_home_is_below_the_account_home_by_default(monkeypatch: pytest.MonkeyPatch, site: Path) -> None:
    """Without QME_HOME, ~/.qme."""
    monkeypatch.setenv("HOME", str(site.parent))
    assert load(env={"QME_SITE_CONFIG": str(site)}).settings.home == site.parent / ".qme"


def test_the_site_can_move_the_home(site: Path) -> None:
    """A site whose homes are full says where qme's files go; the config there is then read."""
    site.write_text(f"[qme]\nhome = {site.parent}/scratch\n")
    (site.parent / "scratch").mkdir()
    (site.parent / "scratch" / "config").write_text("[qme]\nlease = 40\n")
    loaded = load(env={"QME_SITE_CONFIG": str(site)})
    assert (loaded.settings.home, loaded.settings.lease) == (site.parent / "scratch", 40.0)


def test_empty_means_unset(home: Path, site: Path, env: dict[str, str]) -> None:
    """An empty variable changes nothing; an empty optional value in a file undoes the site's."""
    site.write_text("[qme]\nnats_url = nats://hub:4222\n")
    assert load(env={**env, "QME_NATS_URL": ""}).settings.nats_url == "nats://hub:4222"
    (home / "config").write_text("[qme]\nnats_url =\n")
    loaded = load(env=env)
    assert loaded.settings.nats_url is None
    assert loaded.origins["nats_url"].layer == "user"


def test_a_relative_path_is_taken_from_where_one_stands(
    env: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the command line and in the environment a relative path means the current folder's."""
    monkeypatch.chdir(home)
    loaded: Loaded[Settings] = load({"workdir": "w"}, {**env, "QME_NATS_CREDS": "a.creds"})
    assert loaded.settings.workdir == home / "w"
    assert loaded.settings.nats_creds == home / "a.creds"


def test_keys_are_read_with_dashes_and_capitals(home: Path, env: dict[str, str]) -> None:
    """`Connect-Timeout` is `connect_timeout`; % and $ mean themselves."""
    (home / "config").write_text("[qme]\nConnect-Timeout: 9\npool = 50%(x)s$HOME\n")
    settings = load(env=env).settings
    assert (settings.connect_timeout, settings.pool) == (9.0, "50%(x)s$HOME")


def test_a_password_in_the_url_is_not_shown(env: dict[str, str]) -> None:
    """Neither `qme config show` nor a traceback prints it."""
    loaded = load(env={**env, "QME_NATS_URL": "nats://ann:hunter2@hub:4222"})
    shown = {key: text for key, text, _ in loaded.rows()}
    assert shown["nats_url"] == "nats://***@hub:4222"
    assert "hunter2" not in repr(loaded)

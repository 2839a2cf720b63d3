"""Where values come from: flag > environment > user's config > site's > default. Knows no INI syntax."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from qme import redact
from qme.contracts.subjects import executor_name
from qme.errors import SettingsError
from qme.settings import files
from qme.settings.table import ExecutorSettings, Option, Settings, options

SITE_CONFIG = Path("/etc/qme/config")
#: variables that are none of a setting's
_NO_SETTINGS = {"QME_SITE_CONFIG", "QME_TASK_ID", "QME_UID"}

S = TypeVar("S")
E = TypeVar("E", bound=ExecutorSettings)


class Origin(NamedTuple):
    """Where a value was set: the layer, and the exact place in it."""

    layer: Literal["flag", "environment", "user", "site", "default"]
    where: str = ""  #: ``--lease``, ``QME_LEASE`` or ``PATH [qme] lease``

    def __str__(self) -> str:
        return self.where or self.layer


class Loaded(NamedTuple, Generic[S]):
    """Settings, and where each value came from, by key."""

    settings: S
    origins: Mapping[str, Origin]

    def rows(self) -> Iterator[tuple[str, str, Origin]]:
        """Give each setting's key, its value as text with secrets hidden ("" when unset), and its origin."""
        for key, option in options(type(self.settings)).items():
            value = getattr(self.settings, key)
            yield key, "" if value is None else redact.text(option.kind.show(value)), self.origins[key]


#: what a command line said, by key; None is a flag not given
Flags = Mapping[str, str | None]
#: a text and where it stands, by key: one layer, or several laid over each other
_Layer = dict[str, tuple[str, Origin]]
_Table = Mapping[str, Option]


def load(flags: Flags | None = None, env: Mapping[str, str] | None = None) -> Loaded[Settings]:
    """Load the general settings.

    Args:
        flags: Text by key, as given on the command line.
        env: The environment; the process's own when not given. An empty variable counts as unset.

    Raises:
        SettingsError: A value, key, section or file can't be used; says which one and what is allowed.
    """
    env = os.environ if env is None else env
    table = options(Settings)
    site = _file_layer(_site_config(env), "site", files.GENERAL, table)
    over = _environment(env, "QME_", table) | _flags(flags or {}, table)
    home, _ = _values({"home": table["home"]}, site | over)
    user = _file_layer(_settings(Settings, home).home / "config", "user", files.GENERAL, table)
    if "home" in user:
        raise SettingsError(f"{user['home'][1]}: a file can't move the folder it is found in; set QME_HOME")
    values, origins = _values(table, site | user | over)
    settings = _settings(Settings, values)
    if settings.heartbeat >= settings.lease:
        raise SettingsError(
            f"heartbeat ({settings.heartbeat:g}s, {origins['heartbeat']}) must be shorter than "
            f"lease ({settings.lease:g}s, {origins['lease']})"
        )
    return Loaded(settings, origins)


def load_executor_settings(
    name: str,
    cls: type[E],
    *,
    home: Path,
    flags: Flags | None = None,
    env: Mapping[str, str] | None = None,
) -> Loaded[E]:
    """Load the settings of the executor ``name`` into its settings class; precedence and errors as in `load`.

    ``home`` is `Settings.home`. Raises TypeError for a class that breaks the rules of `ExecutorSettings`.
    """
    env = os.environ if env is None else env
    prefix = f"QME_{executor_name(name).upper()}_"
    table = options(cls)
    for key in options(Settings):
        if f"QME_{key}".upper() in {f"{prefix}{own}".upper() for own in table}:
            raise SettingsError(f"executor {name}: QME_{key.upper()} is the general setting {key}")
    section = files.EXECUTOR + name
    values, origins = _values(
        table,
        _file_layer(_site_config(env), "site", section, table)
        | _file_layer(home / "config", "user", section, table)
        | _environment(env, prefix, table)
        | _flags(flags or {}, table),
    )
    return Loaded(_settings(cls, values), origins)


def misspelt(env: Mapping[str, str] | None = None) -> Iterator[tuple[str, str]]:
    """Give each ``QME_…`` variable that no setting has but is nearly one's, with that one's."""
    env = os.environ if env is None else env
    known = {f"QME_{key.upper()}" for key in options(Settings)}
    for name in sorted(name for name in env if name.startswith("QME_") and name not in known | _NO_SETTINGS):
        import difflib  # only for people's mistakes, and variables of executors

        for near in difflib.get_close_matches(name, known, 1, 0.85):
            yield name, near


def check_executor_value(name: str, cls: type[ExecutorSettings], key: str, value: str) -> None:
    """Raise SettingsError for a key or a value that the executor ``name`` does not take; names both as typed."""
    table, place = options(cls), Origin("user", f"{executor_name(name)} {key}")
    _known(key, table, place.where)
    _parse(table[key], value.strip(), place)


def set_value(home: Path, executor: str | None, key: str, value: str) -> None:
    """Write one setting into the user's config file (``executor`` None: a general one).

    A general value is checked first. An executor's is not, nor its key: its package need not be installed
    where people submit, its worker checks them. Atomic, safe to repeat; raises SettingsError with nothing
    changed.
    """
    key = key.lower().replace("-", "_")
    place = Origin("user", f"{home / 'config'} [{_section(executor)}] {key}")
    if not key.isidentifier() or not key.isascii():
        raise SettingsError(f"{key!r} can't be a key: letters, digits and _, a letter first")
    if "\n" in value or "\r" in value or "\0" in value:
        raise SettingsError(f"{place}: a value is one line of text")
    if executor is None:
        table = options(Settings)
        _known(key, table, place.where)
        if key == "home":
            raise SettingsError(f"{place}: a file can't move the folder it is found in; set QME_HOME")
        _parse(table[key], value.strip(), place)
    files.change(home / "config", _section(executor), {key: value.strip()})


def _section(executor: str | None) -> str:
    return files.GENERAL if executor is None else files.EXECUTOR + executor_name(executor)


def _site_config(env: Mapping[str, str]) -> Path:
    return Path(env.get("QME_SITE_CONFIG") or SITE_CONFIG)


def _file_layer(path: Path, layer: Literal["user", "site"], section: str, table: _Table) -> _Layer:
    entries: _Layer = {}
    for key, text in files.read(path).get(section, {}).items():
        _known(key, table, f"{path} [{section}] {key}")
        entries[key] = (text, Origin(layer, f"{path} [{section}] {key}"))
    return entries


def _environment(env: Mapping[str, str], prefix: str, table: _Table) -> _Layer:
    names = {key: prefix + key.upper() for key in table}
    return {key: (env[name], Origin("environment", name)) for key, name in names.items() if env.get(name)}


def _flags(flags: Flags, table: _Table) -> _Layer:
    entries: _Layer = {}
    for key, text in flags.items():
        flag = "--" + key.replace("_", "-")
        _known(key, table, flag)
        if text is not None:
            entries[key] = (text, Origin("flag", flag))
    return entries


def _known(key: str, table: _Table, where: str) -> None:
    if key not in table:
        import difflib  # only for people's mistakes

        near = difflib.get_close_matches(key, table, 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else "allowed: " + ", ".join(table)
        raise SettingsError(f"{where}: no such setting; {hint}")


def _values(table: _Table, entries: _Layer) -> tuple[dict[str, Any], dict[str, Origin]]:
    values: dict[str, Any] = {}
    origins = dict.fromkeys(table, Origin("default"))
    for key in table.keys() & entries.keys():
        text, origins[key] = entries[key]
        values[key] = _parse(table[key], text, origins[key])
    return values, origins


def _parse(option: Option, text: str, origin: Origin) -> Any:
    if option.optional and not text:
        return None  # "nats_url =" in a user's file undoes the site's
    try:
        value = option.kind.parse(text)
    except ValueError:
        raise SettingsError(f"{origin} = {redact.text(text)!r}: allowed is {option.kind.allowed}") from None
    if isinstance(value, Path) and not value.is_absolute():
        # Where one stands is clear on a command line, but not to the next reader of a file.
        if origin.layer in ("user", "site"):
            raise SettingsError(f"{origin} = {text!r}: allowed is {option.kind.allowed}")
        return value.absolute()
    return value


def _settings(cls: type[S], values: Mapping[str, Any]) -> S:
    try:
        return cls(**values)
    except RuntimeError as error:  # Path.home(): an account without a home folder
        raise SettingsError("cannot tell your home folder; set QME_HOME") from error

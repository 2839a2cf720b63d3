"""Every general setting as one table: adding a setting is adding a field. Nothing of files or environment."""

# ruff: noqa: RUF009 - `option` and its kin return dataclass fields, not shared values

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from qme.settings.values import (
    BOOLEAN,
    ENTRIES,
    FOLDERS,
    INTEGER,
    NAMES,
    NUMBER,
    PATH,
    PATTERNS,
    SERVERS,
    TEXT,
    Kind,
    choice,
    duration,
    integer,
    matching,
    size,
)

T = TypeVar("T")

_PLAIN_KINDS: dict[Any, Kind[Any]] = {str: TEXT, bool: BOOLEAN, int: INTEGER, float: NUMBER, Path: PATH}
#: stands for "follows from `home`" until the other fields are known
_FOLLOWS = Path()


def option(default: T, kind: Kind[T], summary: str) -> T:
    """Declare a setting in the body of a settings class: default, kind and one line of help."""
    return field(default=default, metadata={"kind": kind, "summary": summary})


def optional(kind: Kind[T], summary: str) -> T | None:
    """Declare a setting that is unset (None) by default."""
    return field(default=None, metadata={"kind": kind, "summary": summary})


def computed(default: Callable[[], T], kind: Kind[T], summary: str) -> T:
    """Declare a setting whose default depends on the machine or the account."""
    return field(default_factory=default, metadata={"kind": kind, "summary": summary})


def account() -> str:
    """Name the account that we run as; not $LOGNAME or $USER: those are what anybody says they are."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run as a number without a name
        return f"uid{os.getuid()}"


# No repr: it would put a password in nats_url into every traceback and log line; `Loaded.rows` hides it.
@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """The general settings (section ``[qme]``, environment ``QME_<KEY>``), as `qme.settings.load` makes them.

    Times are float seconds, sizes int bytes, paths absolute. ``Settings(home=…)``: defaults below that home.
    """

    # -- who and where
    home: Path = computed(lambda: Path.home() / ".qme", PATH, "folder of qme's own files (~/.qme)")
    host: str = computed(
        lambda: os.uname().nodename.lower(),
        matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}", "a host name"),
        "name of this machine",
    )
    user: str = computed(account, matching(r"\S(.{0,62}\S)?", "a user name"), "who asks; the account's name")
    pool: str | None = optional(TEXT, "pool to submit to; unset: your own, else the one that admits you")
    local_dir: Path = option(_FOLLOWS, PATH, "embedded stack and spools of this host (HOME/local/HOST)")
    workdir: Path = option(
        _FOLLOWS, PATH, "holds the folders of tasks that bring no working directory (HOME/work)"
    )

    # -- the bus
    nats_url: str | None = optional(SERVERS, "the NATS server; unset: the embedded stack")
    nats_creds: Path | None = optional(PATH, "NATS credentials file")
    nats_ca: Path | None = optional(
        PATH, "who may vouch for the NATS server; unset: the system's authorities"
    )
    nats_cert: Path | None = optional(PATH, "certificate of ours, for a NATS server that asks for one")
    nats_key: Path | None = optional(PATH, "the key of nats_cert; unset: in the same file")
    ends_warning: float = option(
        14 * 86_400.0, duration(), "so long before a key or certificate ends it is warned of"
    )
    embedded: bool = option(True, BOOLEAN, "start a local stack when nats_url is unset")
    nats_server: Path | None = optional(
        PATH, "nats-server program of the embedded stack; unset: the packaged one"
    )
    connect_timeout: float = option(5.0, duration(), "give up on one try to connect after this")
    publish_retry: float = option(15.0, duration(), "repeat an unanswered publish for this long")
    request_timeout: float = option(30.0, duration(), "wait this long for a service's answer")
    idle_stop: float = option(
        8 * 3600.0, duration(zero="never"), "the idle embedded stack stops itself after this"
    )
    sync_interval: float = option(
        1.0, duration(zero="always"), "the embedded NATS writes through to disk this often"
    )
    replicas: int = option(1, integer(1, 5), "copies of each stream on a cluster of NATS servers")
    tasks_max_bytes: int = option(256 << 20, size(1 << 20), "the queue, all tasks together")
    records_max_bytes: int = option(1 << 30, size(1 << 20), "task records, all together")
    specs_max_bytes: int = option(1 << 30, size(1 << 20), "what was submitted, all tasks together")
    logs_max_age: float = option(7 * 86_400.0, duration(), "output stays on the bus for this long")
    logs_max_bytes: int = option(4 << 30, size(1 << 20), "output on the bus, all tasks together")
    events_max_age: float = option(30 * 86_400.0, duration(), "the audit trail stays for this long")
    events_max_bytes: int = option(1 << 30, size(1 << 20), "the audit trail, all together")

    # -- workers
    lease: float = option(
        30.0,
        duration(),
        "a claim is read again at half of this; a worker silent for it may lose tasks to its pool",
    )
    heartbeat: float = option(10.0, duration(), "a worker says that it lives this often")
    settle: float = option(
        3.0, duration(), "a worker takes nothing new for this long after the bus has come back"
    )
    term_grace: float = option(5.0, duration(), "time from TERM to KILL")
    log_limit: int = option(64 << 20, size(0), "output per task and stream that goes to the bus")
    log_chunk: int = option(128 << 10, size(1 << 10, 240 << 10), "largest piece of output in one message")
    log_interval: float = option(0.1, duration(), "new output is looked for this often")
    spool_keep: float = option(
        7 * 86_400.0, duration(), "files of an ended task stay in the spool for this long"
    )
    spool_limit: int = option(10 << 30, size(), "the spool, all ended tasks together")

    # -- submitters
    janitor_interval: float = option(10.0, duration(), "unfinished business is looked for this often")
    janitor_grace: float = option(
        5.0, duration(), "a record without its queue message is left alone for this long"
    )
    lost_after: float = option(
        3600.0, duration(), "a task whose worker is silent for this long counts as lost, until it comes back"
    )

    lost_settle: float = option(
        86_400.0,
        duration(),
        "what waits for a task that counts as lost gives its worker this long to come back",
    )
    records_keep: float = option(
        90 * 86_400.0,
        duration(zero="forever"),
        "an ended task stays on the bus for this long after its end",
    )

    queued_max: int = option(
        100_000,
        integer(0),
        "tasks that one user may have waiting for a worker; 0: any number",
    )

    # -- the dashboard
    dashboard_host: str = option("127.0.0.1", TEXT, "address that the dashboard listens on")
    dashboard_port: int = option(5000, integer(0, 65_535), "port of the dashboard; 0: any free one")
    dashboard_actions: bool = option(
        False, BOOLEAN, "the dashboard may change tasks; else it only shows them"
    )
    dashboard_auth: str = option(
        "token", choice("token", "basic", "proxy"), "who may see the dashboard; see docs/dashboard.md"
    )
    dashboard_password: Path | None = optional(PATH, "file with NAME:PASSWORD for dashboard_auth = basic")
    dashboard_user_header: str = option(
        "X-Forwarded-User", TEXT, "header that names the person where dashboard_auth = proxy"
    )
    dashboard_names: str | None = optional(
        TEXT, "further host names that browsers may call it by, with commas"
    )

    # -- telling how tasks ended (`qme notifier`)
    notify_command: str | None = optional(
        TEXT,
        "shell line that is run for each end that is told; QME_TEXT says it in a line, stdin has it as JSON",
    )
    notify_url: str | None = optional(
        matching(r"https?://\S+", "an http or https address"),
        "webhook that each such end is sent to, as JSON",
    )
    notify_on: tuple[str, ...] | None = optional(
        NAMES, "outcomes that are told of all your tasks, or all; unset: of those with --notify only"
    )

    # -- watching
    log_level: str = option("info", choice("debug", "info", "warning", "error"), "least level that is logged")
    log_format: str = option(
        "auto", choice("auto", "console", "json"), "auto: console on a terminal, else json"
    )
    metrics_port: int = option(
        0, integer(0, 65_535), "port of a service's /metrics, /healthz and /readyz; 0: none"
    )
    metrics_host: str = option("127.0.0.1", TEXT, "address that metrics_port is on")
    metrics_token: Path | None = optional(
        PATH, "file with the token that lets other accounts and machines read /metrics"
    )
    metrics_interval: float = option(5.0, duration(), "the exporter looks how things stand this often")

    def __post_init__(self) -> None:
        # These two follow from others; a frozen class can be completed in this way only.
        if self.local_dir is _FOLLOWS:
            object.__setattr__(self, "local_dir", self.home / "local" / self.host)
        if self.workdir is _FOLLOWS:
            object.__setattr__(self, "workdir", self.home / "work")


@dataclass(frozen=True, kw_only=True)
class ExecutorSettings:
    """Base of an executor's settings (section ``[executor.<name>]``, environment ``QME_<NAME>_<KEY>``).

    A subclass is a frozen dataclass whose fields have defaults: plain ``poll: int = 3``, or `option` for
    times, sizes and help. ``str``, ``bool``, ``int``, ``float``, ``Path`` and ``… | None`` need no `option`.
    """

    slots: int = option(2, integer(1, 100_000), "tasks that one worker runs at a time")

    # -- what its worker refuses (docs/deploy/policy.md); unset: nothing
    users: tuple[str, ...] | None = optional(NAMES, "whose tasks a worker takes, of those the pool admits")
    allow: tuple[tuple[str, ...], ...] | None = optional(
        ENTRIES, "programs that a worker runs, and what they may be given; nothing else, and no shell strings"
    )
    deny: tuple[str, ...] | None = optional(
        PATTERNS, "commands in which one is found are refused: a guard rail"
    )
    directories: tuple[Path, ...] | None = optional(FOLDERS, "commands run in or below these folders only")
    variables: tuple[str, ...] | None = optional(
        NAMES, "variables that a task may set, NAME* for all that begin so; unset: all, with allow none"
    )
    max_runtime: float | None = optional(duration(), "a command is ended after this much run time")
    output_limit: int | None = optional(size(), "a command that has written more than this is ended")


class Option(NamedTuple):
    """What the table says about one setting."""

    key: str
    kind: Kind[Any]
    summary: str
    optional: bool


def options(cls: type[Any]) -> Mapping[str, Option]:
    """List a settings class's options by key, in the order they are declared.

    Raises TypeError for a field without a default, or of a type that has no kind.
    """
    if cls not in _tables:  # classes don't change, and a worker asks for each task
        hints = get_type_hints(cls)
        _tables[cls] = {entry.name: _option(cls, entry, hints[entry.name]) for entry in fields(cls)}
    return _tables[cls]


_tables: dict[type[Any], Mapping[str, Option]] = {}


def _option(cls: type[Any], entry: Field[Any], hint: Any) -> Option:
    if entry.default is MISSING and entry.default_factory is MISSING:
        raise TypeError(f"{cls.__name__}.{entry.name} needs a default")
    is_optional = get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint)
    plain = next(arg for arg in get_args(hint) if arg is not NoneType) if is_optional else hint
    kind = entry.metadata.get("kind") or _PLAIN_KINDS.get(plain)
    if kind is None:
        raise TypeError(f"{cls.__name__}.{entry.name}: declare a {hint} with option(default, kind, summary)")
    return Option(entry.name, kind, entry.metadata.get("summary", ""), is_optional)

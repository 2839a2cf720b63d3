"""Every error that qme raises on purpose. No IO and no imports of qme here: this is the lowest floor.

    QmeError                       exit code of the CLI, wire code
    ├── InvalidRequest       2     the request itself is wrong; repeating it won't help
    │   ├── SettingsError    2     a setting has a value that can't be used
    │   ├── WasCleared       2     the key or uuid stands for a task that was cleared
    │   └── RecordCorrupt    1     a stored record can't be read
    ├── NotFound             3     no such task, executor, action
    ├── NotPermitted         4     credentials or ownership forbid it
    ├── BusUnavailable       5     the bus can't be reached or gave no answer in time (retryable)
    │   └── LimitReached     1     the bus is reachable, but full (retryable once there is room)
    ├── NoExecutorMatches    6     no executor takes this command
    ├── WaitTimedOut         9     the time given to `wait` ran out; the task goes on
    ├── Conflict             1     somebody else wrote first (internal: callers read again and decide)
    ├── IllegalTransition    1     an event that the task's state does not allow
    └── LocalStackError      5     the embedded stack can't be started

A class docstring is its default message, and tells the user what to do. `code` travels in replies on the bus, so a
client raises the same class that the service raised.
"""

from __future__ import annotations

from typing import Any, ClassVar


class QmeError(Exception):
    """qme failed; run again with QME_LOG_LEVEL=debug for more."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    #: True where the same call may succeed later without any change by the user
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])

    @property
    def message(self) -> str:
        """The sentence for the user."""
        return str(self.args[0])


class InvalidRequest(QmeError):
    """The request can't be used as it is; see `qme --help`."""

    code = "invalid"
    exit_code = 2


class WasCleared(InvalidRequest):
    """The task was cleared; submit it under another key or uuid."""

    code = "cleared"


class SettingsError(InvalidRequest):
    """A setting has a value that can't be used; `qme config show` lists them with their origin."""

    code = "settings"


class RecordCorrupt(InvalidRequest):
    """A stored record can't be read; `qme clear ID --force` removes it."""

    code = "corrupt"
    exit_code = 1


class NotFound(QmeError):
    """There is no such task; `qme ls` lists the tasks there are."""

    code = "not_found"
    exit_code = 3


class NotPermitted(QmeError):
    """The credentials don't allow this; ask an operator, or check QME_NATS_CREDS."""

    code = "not_permitted"
    exit_code = 4


class BusUnavailable(QmeError):
    """The message bus can't be reached; check QME_NATS_URL, or `qme status` for the local one."""

    code = "bus_unavailable"
    exit_code = 5
    retryable = True


class LimitReached(BusUnavailable):
    """A storage limit of the bus is reached; `qme clear --older-than 7d` makes room."""

    code = "limit"
    exit_code = 1


class TooManyTasks(QmeError):
    """One user has as many tasks waiting as the submitters let wait; `qme cancel --all --status queued` ends them."""

    code = "too_many_tasks"
    exit_code = 1


class NoExecutorMatches(QmeError):
    """No executor takes this command; `qme executors` lists those there are, `qme match CMD` explains."""

    code = "no_executor"
    exit_code = 6


class WaitTimedOut(QmeError):
    """The wait timed out; the task goes on. `qme wait ID` waits again."""

    code = "wait_timeout"
    exit_code = 9


class Conflict(QmeError):
    """Somebody else changed the record first; read it again."""

    code = "conflict"
    retryable = True


class IllegalTransition(QmeError):
    """The task's state does not allow this."""

    code = "illegal"


class LocalStackError(QmeError):
    """The local stack can't be started; `qme status` tells more."""

    code = "local"
    exit_code = 5


#: characters of a sentence that are sent
_MAX_MESSAGE = 4000


def _tree(cls: type[QmeError]) -> list[type[QmeError]]:
    return [cls, *(sub for child in cls.__subclasses__() for sub in _tree(child))]


def to_wire(error: QmeError) -> dict[str, Any]:
    """Give the error as it travels in a reply: ``{"error": {"code", "message"}}``."""
    message = error.message
    if len(message) > _MAX_MESSAGE:  # it names a value of the asker's, and with it would not pass the bus
        message = f"{message[:_MAX_MESSAGE]}… ({len(message)} characters)"
    return {"error": {"code": error.code, "message": message}}


def from_wire(error: dict[str, Any]) -> QmeError:
    """Rebuild the error that a service sent; an unknown code (a newer service) becomes a plain QmeError."""
    classes = {cls.code: cls for cls in reversed(_tree(QmeError))}
    cls = classes.get(str(error.get("code")), QmeError)
    return cls(str(error.get("message") or "") or None)

"""What a submission may say, and the spec made from it. Pure; every refusal names the value and what is allowed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from qme.contracts.arrays import checked, is_element
from qme.contracts.messages import MAX_FILES, MAX_PARENTS, MAX_RECORD, MAX_SPEC, Submission
from qme.contracts.subjects import is_uuid, keyed_uuid, token
from qme.contracts.tasks import Outcome, SentFile, TaskRecord, TaskSpec
from qme.errors import InvalidRequest

#: bytes of one word, as Linux sets it for a program's arguments (MAX_ARG_STRLEN), the closing NUL included
MAX_WORD = 128 * 1024
#: bytes of a record left free at the start, for what is exported and for the history of its attempts
ROOM_TO_GROW = 24 * 1024
MAX_LABELS = 32
MAX_NAME = 200
MAX_MESSAGE = 4096
MAX_RETRIES = 100
#: priorities go from minus this to this
MAX_PRIORITY = 100
#: bytes of all files sent with an array
MAX_ARRAY_FILES = 16 * 1024
#: cpus, or GPUs, of one task
MAX_COUNT = 100_000

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}\Z")
GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_YEARS = 10 * 365 * 86_400.0


def spec_of(submission: Submission, user: str) -> TaskSpec:
    """Check a submission of a user (by name) and give the spec that is stored; the same one each time.

    Raises InvalidRequest.
    """
    _check_uuid(submission, user)
    _check_text(submission)
    _check_command(submission)
    _check_place(submission)
    _check_limits(submission)
    _check_company(submission)
    _check_files(submission)
    _check_array(submission)
    shared = TaskSpec.model_fields.keys() & Submission.model_fields.keys()
    spec = TaskSpec(user=user, **{name: getattr(submission, name) for name in shared})
    size = len(spec.model_dump_json().encode())
    if size > MAX_SPEC:
        raise InvalidRequest(f"the task has {size} bytes with its files, the limit is {MAX_SPEC}")
    return spec


def check_record(record: TaskRecord) -> None:
    """Refuse what would leave its record no room to grow. Raises InvalidRequest."""
    size = len(record.model_dump_json().encode())
    if size > MAX_RECORD - ROOM_TO_GROW:
        raise InvalidRequest(
            f"the task's record would have {size} bytes, the limit is {MAX_RECORD - ROOM_TO_GROW}: "
            "shorten the message, the labels, or the names of variables and files"
        )


def same_request(one: TaskSpec, other: TaskSpec) -> bool:
    """Tell whether two specs ask for the same; from which host does not matter, nor what newer versions add."""
    names = TaskSpec.model_fields.keys() - {"host", "schema_"}
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _check_uuid(submission: Submission, user: str) -> None:
    uuid, key = submission.uuid, submission.key
    if not is_uuid(uuid):
        raise InvalidRequest(f"{uuid[:60]!r} is no uuid")
    if is_element(uuid):
        raise InvalidRequest(f"{uuid} can only be the uuid of an array's task, which submitters make")
    if key is None:
        # Version 5 belongs to keys: else anybody could take the uuid of somebody's key before they use it.
        if uuid[14] == "5":
            raise InvalidRequest(f"{uuid} is the uuid of a key, but no key was given")
        return
    if not 0 < len(key) <= 256:
        raise InvalidRequest(f"a key has 1 to 256 characters, not {len(key)}")
    _encoded("the key", key)
    if uuid != keyed_uuid(token(user), key):
        raise InvalidRequest(f"{uuid} is not the uuid of {user}'s key {key!r}")


def _check_array(submission: Submission) -> None:
    if submission.array is None:
        return
    checked(submission.array)
    sent = [*submission.files, *filter(None, (submission.stdin, submission.script))]
    size = sum(one.size for one in sent)
    if size > MAX_ARRAY_FILES:
        raise InvalidRequest(
            f"an array's files travel with each of its tasks, so they have {MAX_ARRAY_FILES} bytes at most, not {size}"
        )


def _check_text(submission: Submission) -> None:
    for what, text in _texts(submission):
        if "\0" in text:
            raise InvalidRequest(f"{what} holds a NUL character: {text[:40]!r}")
        _encoded(what, text)


def _texts(submission: Submission) -> Iterator[tuple[str, str]]:
    for word in submission.argv:
        yield "a word of the command", word
    for name, value in submission.env.items():
        yield f"variable {name!r}", name + value
    for name, value in submission.labels.items():
        yield f"label {name!r}", name + value
    for name in ("cwd", "message", "host", "executor", "pool", "name"):
        yield name, getattr(submission, name) or ""
    for sent in (*submission.files, *filter(None, (submission.stdin, submission.script))):
        yield "a file's name", sent.name


def _encoded(what: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"{what} is not UTF-8: {text[:40]!r}") from None


def _check_command(submission: Submission) -> None:
    argv = submission.argv
    if not argv or not argv[0].strip():
        raise InvalidRequest("the command is empty")
    if submission.shell and len(argv) != 1:
        raise InvalidRequest(f"a command for the shell is one word, not {len(argv)}")
    for word in argv:
        size = len(word.encode()) + 1
        if size > MAX_WORD:
            raise InvalidRequest(
                f"a word of the command is too long: {size - 1} bytes, the limit is {MAX_WORD - 1}; "
                "use --send or --stdin"
            )


def _check_place(submission: Submission) -> None:
    if submission.cwd is not None and not submission.cwd.startswith("/"):
        raise InvalidRequest(f"the working directory has to be absolute: {submission.cwd!r}")
    if submission.cwd is None and submission.cwd_given:
        raise InvalidRequest("the working directory is said to be given, but is not")
    if submission.umask is not None and not 0 <= submission.umask <= 0o777:
        raise InvalidRequest(f"umask {submission.umask:o} is not between 0 and 777")
    for name in submission.env:
        if not name or "=" in name:
            raise InvalidRequest(f"{name!r} can't be a variable's name")
        if name.startswith("QME_"):
            raise InvalidRequest(f"variable {name}: names that begin with QME_ are qme's own")


def _check_limits(submission: Submission) -> None:
    retry = submission.retry
    _within("the timeout", submission.timeout, 0.001, _YEARS, "seconds")
    _within("the priority", submission.priority, -MAX_PRIORITY, MAX_PRIORITY)
    if submission.resources is not None:
        asked = submission.resources
        _within("the number of cpus", asked.cpus, 0, MAX_COUNT)
        _within("the number of GPUs", asked.gpus, 0, MAX_COUNT)
    _within("the number of retries", retry.limit, 0, MAX_RETRIES)
    _within("the delay of a retry", retry.delay, 0, 86_400.0, "seconds")
    _within("the factor between retries", retry.backoff, 1, 100)
    for outcome in (Outcome.SUCCESS, Outcome.CANCELLED):
        if outcome in retry.on:
            raise InvalidRequest(f"a task that ended as {outcome} can't be retried by itself")
    if submission.message is not None and len(submission.message.encode()) > MAX_MESSAGE:
        raise InvalidRequest(
            f"the message has {len(submission.message.encode())} bytes, the limit is {MAX_MESSAGE}"
        )
    if len(submission.labels) > MAX_LABELS:
        raise InvalidRequest(f"{len(submission.labels)} labels, the limit is {MAX_LABELS}")
    for name, value in submission.labels.items():
        if not _LABEL.match(name):
            raise InvalidRequest(f"{name!r} can't be a label's name: letters, digits and . _ / -, at most 63")
        if len(value) > 256:
            raise InvalidRequest(f"label {name} has {len(value)} characters, the limit is 256")


def _check_company(submission: Submission) -> None:
    group, after = submission.group, [parent.uuid for parent in submission.after]
    if group is not None and not GROUP.match(group):
        raise InvalidRequest(f"{group[:80]!r} can't be a group's name: letters, digits and . _ -, at most 63")
    if submission.name is not None and not 0 < len(submission.name.encode()) <= MAX_NAME:
        raise InvalidRequest(f"a task's name has 1 to {MAX_NAME} bytes, not {len(submission.name.encode())}")
    if len(after) > MAX_PARENTS:
        raise InvalidRequest(f"a task can wait for {MAX_PARENTS} others, not for {len(after)}")
    for uuid in after:
        if not is_uuid(uuid):
            raise InvalidRequest(f"{uuid[:60]!r}, which it shall wait for, is no uuid")
    if len(set(after)) < len(after):
        raise InvalidRequest(f"it shall wait for {max(after, key=after.count)} twice")


def _within(what: str, value: float | None, low: float, high: float, unit: str = "") -> None:
    if value is not None and not (math.isfinite(value) and low <= value <= high):
        raise InvalidRequest(f"{what} is {value:g}, allowed is {low:g} to {high:.0f} {unit}".rstrip())


def _check_files(submission: Submission) -> None:
    total = 0
    for sent in submission.files:
        _check_name(sent.name)
        total += _check_content(sent)
    if submission.stdin is not None:
        total += _check_content(submission.stdin)
    if submission.script is not None:
        _check_name(submission.script.name)
        total += _check_content(submission.script)
    if total > MAX_FILES:
        raise InvalidRequest(f"the files to send have {total} bytes together, the limit is {MAX_FILES}")
    _check_collisions(sent.name for sent in submission.files)


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or str(path) != name:
        raise InvalidRequest(f"a file to send needs a plain path inside the task's folder, not {name!r}")


def _check_content(sent: SentFile) -> int:
    try:
        content = base64.b64decode(sent.content, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"the content of {sent.name!r} is not base64") from None
    if hashlib.sha256(content).hexdigest() != sent.sha256:
        raise InvalidRequest(f"the content of {sent.name!r} is not what its sha256 says")
    if not 0 <= sent.mode <= 0o777:
        raise InvalidRequest(f"mode {sent.mode:o} of {sent.name!r} is not between 0 and 777")
    return len(content)


def _check_collisions(names: Iterable[str]) -> None:
    taken: set[str] = set()
    folders: set[str] = set()
    for name in names:
        if name in taken:
            raise InvalidRequest(f"two files to send have the same name: {name!r}")
        taken.add(name)
        folders.update(str(parent) for parent in PurePosixPath(name).parents)
    for name in sorted(taken & folders):
        raise InvalidRequest(f"a file to send is also the folder of another: {name!r}")

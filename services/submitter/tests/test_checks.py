"""What a submission may say: one row per refusal, each with its sentence."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest

from qme.contracts.messages import Submission
from qme.contracts.subjects import TaskKey, keyed_uuid
from qme.contracts.tasks import Outcome, RetryPolicy, SentFile
from qme.errors import InvalidRequest
from qme.lifecycle import new_record
from qme_submitter.checks import check_record, same_request, spec_of

UUID = "0199aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee"
KEYED = keyed_uuid("ann", "nightly")
NUL, NOT_UTF8 = "a\0b", "a\udc80"


def sent(name: str, content: bytes = b"x", **changed: Any) -> SentFile:
    """Pack a file as a client does, but for what is `changed`."""
    digest = hashlib.sha256(content).hexdigest()
    packed = SentFile(name=name, content=base64.b64encode(content).decode(), sha256=digest)
    return packed.model_copy(update=changed)


def asked(**changed: Any) -> Submission:
    """Describe a good submission, but for what is `changed`."""
    return Submission(uuid=UUID, argv=("echo", "hi")).model_copy(update=changed)


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"uuid": "x"}, "'x' is no uuid"),
    ({"uuid": UUID.upper()}, "is no uuid"),
    ({"uuid": "*"}, "'*' is no uuid"),
    ({"uuid": KEYED}, "is the uuid of a key, but no key was given"),
    ({"key": "nightly"}, f"{UUID} is not the uuid of ann's key 'nightly'"),
    ({"key": ""}, "a key has 1 to 256 characters, not 0"),
    ({"key": "k" * 257}, "a key has 1 to 256 characters, not 257"),
    ({"key": NOT_UTF8}, "the key is not UTF-8"),
    ({"argv": ()}, "the command is empty"),
    ({"argv": ("",)}, "the command is empty"),
    ({"argv": ("  \n", "x")}, "the command is empty"),
    ({"argv": ("echo", NUL)}, "a word of the command holds a NUL character: 'a\\x00b'"),
    ({"argv": ("echo", NOT_UTF8)}, "a word of the command is not UTF-8"),
    ({"argv": ("echo", "x" * 131_072)}, "too long: 131072 bytes, the limit is 131071"),
    ({"argv": ("a", "b"), "shell": True}, "a command for the shell is one word, not 2"),
    ({"argv": ("x", *["y" * 100_000] * 8)}, "with its files, the limit is 786432"),
    ({"cwd": "here"}, "the working directory has to be absolute: 'here'"),
    ({"cwd": NUL}, "cwd holds a NUL"),
    ({"cwd_given": True}, "said to be given, but is not"),
    ({"script": sent("../job.sh")}, "needs a plain path inside the task's folder, not '../job.sh'"),
    ({"script": sent("job.sh", sha256="0")}, "is not what its sha256 says"),
    ({"script": sent("job.sh", b"x" * 524_288), "files": (sent("a"),)}, "524289 bytes together"),
    ({"umask": 0o1000}, "umask 1000 is not between 0 and 777"),
    ({"umask": -1}, "umask -1 is not between 0 and 777"),
    ({"env": {"A=B": "x"}}, "'A=B' can't be a variable's name"),
    ({"env": {"": "x"}}, "'' can't be a variable's name"),
    ({"env": {"A": NUL}}, "variable 'A' holds a NUL"),
    ({"env": {"A": NOT_UTF8}}, "variable 'A' is not UTF-8"),
    ({"env": {"QME_TASK_ID": "x"}}, "names that begin with QME_ are qme's own"),
    ({"timeout": 0.0}, "the timeout is 0, allowed is 0.001 to"),
    ({"timeout": float("nan")}, "the timeout is nan"),
    ({"timeout": float("inf")}, "the timeout is inf"),
    ({"retry": RetryPolicy(limit=-1)}, "the number of retries is -1, allowed is 0 to 100"),
    ({"retry": RetryPolicy(limit=101)}, "the number of retries is 101"),
    ({"retry": RetryPolicy(delay=-1.0)}, "the delay of a retry is -1"),
    ({"retry": RetryPolicy(backoff=0.5)}, "the factor between retries is 0.5, allowed is 1 to 100"),
    ({"retry": RetryPolicy(on=(Outcome.CANCELLED,))}, "ended as cancelled can't be retried"),
    ({"message": NUL}, "message holds a NUL"),
    ({"message": "é" * 2049}, "the message has 4098 bytes, the limit is 4096"),
    ({"labels": {f"l{i}": "" for i in range(33)}}, "33 labels, the limit is 32"),
    ({"labels": {"a b": ""}}, "'a b' can't be a label's name"),
    ({"labels": {"a": "x" * 257}}, "label a has 257 characters"),
    ({"host": NUL}, "host holds a NUL"),
    ({"pool": NUL}, "pool holds a NUL"),
    ({"executor": NOT_UTF8}, "executor is not UTF-8"),
    ({"files": (sent("/etc/passwd"),)}, "plain path inside the task's folder, not '/etc/passwd'"),
    ({"files": (sent("../x"),)}, "plain path inside the task's folder, not '../x'"),
    ({"files": (sent("a/../../x"),)}, "plain path inside"),
    ({"files": (sent(""),)}, "plain path inside the task's folder, not ''"),
    ({"files": (sent("."),)}, "plain path inside the task's folder, not '.'"),
    ({"files": (sent("a//b"),)}, "plain path inside the task's folder, not 'a//b'"),
    ({"files": (sent(NUL),)}, "a file's name holds a NUL"),
    ({"files": (sent("a"), sent("a"))}, "two files to send have the same name: 'a'"),
    ({"files": (sent("a/b"), sent("a"))}, "a file to send is also the folder of another: 'a'"),
    ({"files": (sent("a", content=b"x", sha256="0" * 64),)}, "is not what its sha256 says"),
    ({"files": (sent("a").model_copy(update={"content": "?"}),)}, "the content of 'a' is not base64"),
    ({"files": (sent("a", mode=0o4755),)}, "mode 4755 of 'a' is not between 0 and 777"),
    ({"stdin": sent("stdin", sha256="0" * 64)}, "the content of 'stdin' is not what its sha256 says"),
    (
        {"files": (sent("a", b"x" * 400_000),), "stdin": sent("stdin", b"x" * 130_000)},
        "have 530000 bytes together",
    ),
]


@pytest.mark.parametrize(("changed", "says"), REFUSALS, ids=[says[:40] for _, says in REFUSALS])
def test_a_bad_submission_is_refused_with_its_reason(changed: dict[str, Any], says: str):
    """Each thing that can be wrong has one sentence, with the value in it."""
    with pytest.raises(InvalidRequest) as refusal:
        spec_of(asked(**changed), "ann")
    assert says in refusal.value.message
    assert "\n" not in refusal.value.message


def test_words_survive_as_they_are():
    """Spaces, quotes, unicode, line ends and empty words reach the spec unchanged."""
    argv = ("printf", "%s", "", " a  b ", "'\"", "ü\u202e\n", "x" * 1000)
    assert spec_of(asked(argv=argv), "ann").argv == argv


def test_everything_asked_stands_in_the_spec():
    """The spec holds every field of the submission that a worker needs, and who asked."""
    one = asked(
        cwd="/w",
        cwd_given=True,
        umask=0o22,
        env={"A": "1"},
        files=(sent("dir/a"),),
        stdin=sent("stdin"),
        timeout=3.0,
        retry=RetryPolicy(limit=2),
        message="m",
        labels={"k": "v"},
        host="h",
    )
    spec = spec_of(one, "jane.doe")
    assert spec.user == "jane.doe"
    # an element is made of an array by submitters
    assert spec.model_dump(exclude={"user", "schema_", "element"}) == one.model_dump(
        exclude={"executor", "pool"}
    )


def test_a_key_fits_its_users_uuid():
    """The uuid of a key is the user's own: the same key of another user is another task."""
    assert spec_of(asked(uuid=KEYED, key="nightly"), "ann").key == "nightly"
    with pytest.raises(InvalidRequest, match="bob's key"):
        spec_of(asked(uuid=KEYED, key="nightly"), "bob")


def test_the_same_request_from_another_host_is_the_same():
    """A repeated key may come from any login node."""
    one, other = spec_of(asked(host="a"), "ann"), spec_of(asked(host="b"), "ann")
    assert same_request(one, other)
    assert not same_request(one, spec_of(asked(host="a", timeout=1.0), "ann"))


def test_a_record_keeps_room_to_grow():
    """Names of many files would leave no room for what is exported at the end."""
    files = tuple(sent(f"{'n' * 200}{i}") for i in range(200))
    record = new_record(
        spec_of(asked(files=files), "ann"), TaskKey("shell", "p", UUID), datetime(2026, 1, 1, tzinfo=UTC)
    )
    with pytest.raises(InvalidRequest, match="the limit is 40960: shorten"):
        check_record(record)


def test_a_long_command_is_no_reason_to_refuse():
    """Two thousand long words fit: the record holds the beginning of the command, the spec all of it."""
    spec = spec_of(asked(argv=("echo", *[f"argument-{i:050}" for i in range(2000)])), "ann")
    check_record(new_record(spec, TaskKey("shell", "p", UUID), datetime(2026, 1, 1, tzinfo=UTC)))
    assert len(spec.argv) == 2001

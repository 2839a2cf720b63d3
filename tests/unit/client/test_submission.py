"""Submissions made from what a person gave."""

from __future__ import annotations

import base64
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qme.client.control import batches
from qme.client.origin import new_uuid, working_directory
from qme.client.submission import Options, prepare
from qme.contracts.messages import MAX_FILES, MAX_ITEMS, MAX_REQUEST, Submission, SubmitRequest
from qme.contracts.subjects import is_uuid
from qme.contracts.tasks import Outcome, RetryPolicy
from qme.errors import InvalidRequest


def test_a_submission_says_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folder and umask are this process's own; a folder that was given is marked so."""
    monkeypatch.chdir(tmp_path)
    old = os.umask(0o027)
    try:
        plain = prepare(["make", "all"], Options(), host="laptop")
    finally:
        os.umask(old)
    assert (plain.cwd, plain.cwd_given, plain.umask, plain.host) == (str(tmp_path), False, 0o027, "laptop")
    given = prepare("make all", Options(cwd="sub"), host="laptop")
    assert (given.cwd, given.cwd_given, given.shell) == (f"{tmp_path}/sub", True, True)


def test_the_folder_keeps_the_name_the_shell_has_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link to it is kept (sites mount by such names); a PWD that is another folder is not believed."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    monkeypatch.chdir(real)
    monkeypatch.setenv("PWD", str(link))
    assert working_directory() == str(link)
    monkeypatch.setenv("PWD", str(tmp_path))
    assert working_directory() == str(real)


def test_a_folder_that_is_gone_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task then gets one of its own."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert working_directory() is None


def test_files_travel_with_name_mode_and_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative name is kept, another one shortened to the file's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    script = tmp_path / "in" / "run.sh"
    script.write_bytes(b"\x00\xffecho")
    script.chmod(0o750)
    relative, absolute = (
        prepare("true", Options(send=[name]), host="h").files[0] for name in ("in/run.sh", script)
    )
    assert (relative.name, absolute.name) == ("in/run.sh", "run.sh")
    assert base64.b64decode(relative.content) == b"\x00\xffecho"
    assert relative.sha256 == hashlib.sha256(b"\x00\xffecho").hexdigest()
    assert relative.mode == 0o750


def test_files_are_limited_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly the limit passes, standard input counted; a byte more is refused."""
    monkeypatch.chdir(tmp_path)
    Path("half").write_bytes(b"x" * (MAX_FILES // 2))
    Path("all").write_bytes(b"x" * MAX_FILES)
    Path("more").write_bytes(b"x" * (MAX_FILES + 1))
    prepare("true", Options(send=["all"]), host="h")
    prepare("true", Options(send=["half"], stdin=b"y" * (MAX_FILES // 2)), host="h")
    for options in (Options(send=["more"]), Options(send=["all"], stdin=b"y"), Options(send=["half", "all"])):
        with pytest.raises(InvalidRequest, match="512 KiB"):
            prepare("true", options, host="h")


@pytest.mark.parametrize("names", [["missing"], ["."], ["/dev/null"], ["a", str(Path("x") / ".." / "a")]])
def test_what_cannot_be_sent_is_refused(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing file, a folder, a device, two files of one name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    (tmp_path / "a").write_text("")
    with pytest.raises(InvalidRequest, match="send"):
        prepare("true", Options(send=names), host="h")


def test_uuids_sort_by_age() -> None:
    """Version 7, in the usual spelling."""
    uuids = [new_uuid() for _ in range(100)]
    assert all(is_uuid(uuid) and uuid[14] == "7" for uuid in uuids)
    assert sorted(uuids) == uuids


def task(size: int) -> Submission:
    """A submission of about that many bytes."""
    return Submission(uuid=new_uuid(), argv=("echo", "é" * (size // 2)))


def test_batches_keep_requests_within_their_limit() -> None:
    """In order, nothing lost; a task larger than a request goes alone."""
    tasks = [task(size) for size in [900] * 700 + [400_000] + [90_000] * 4]
    made = list(batches(tasks))
    assert [one for batch in made for one in batch] == tasks
    for batch in made:
        request = SubmitRequest(
            id=new_uuid(), expires=datetime.now(UTC), client="h" * 200, tasks=tuple(batch)
        )
        size = len(request.model_dump_json(exclude_defaults=True).encode())
        assert size <= MAX_REQUEST or len(batch) == 1


def test_batches_hold_a_bounded_number_of_tasks() -> None:
    """Small ones would fit by the thousand."""
    assert [len(batch) for batch in batches([task(2)] * (MAX_ITEMS + 1))] == [MAX_ITEMS, 1]


def test_retries_are_as_they_were_asked_for() -> None:
    """What is not said is as the policy has it."""
    plain = prepare("make", Options(retries=2), host="laptop").retry
    assert plain == RetryPolicy(limit=2)
    said = Options(retries=2, retry_delay=0.0, retry_backoff=1.0, retry_on=[Outcome.LOST])
    assert prepare("make", said, host="laptop").retry == RetryPolicy(
        limit=2, delay=0.0, backoff=1.0, on=(Outcome.LOST,)
    )

"""Mistakes get one clear line and the right exit code; no traceback, nothing on stdout, nothing lost."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.integration.bad_input import ON_A_STACK, WITHOUT_BUS, Mistake, page
from tests.integration.stack import Stack

from qme.testing.nats import NatsServer

ROOT = Path(__file__).parents[2]


def mounted(where: Path, options: str) -> Path:
    """Mount a small file system of its own there; the caller unmounts it."""
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(where)], check=True)
    return where


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Everything that the table's words may name, prepared."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a full and a read-only file system")
    place = tmp_path_factory.mktemp("mistakes")
    with ExitStack() as cleanup:
        server = cleanup.enter_context(NatsServer(place / "nats"))
        with socket.socket() as probe:  # a port that nobody listens on
            probe.bind(("127.0.0.1", 0))
            dead = f"127.0.0.1:{probe.getsockname()[1]}"
        names = {"url": server.url, "dead": dead, "uuid": "01990000-0000-7000-8000-000000000000"}
        for name, options in (("full", "size=64k"), ("read_only", "size=64k")):
            names[name] = str(mounted(place / name, options))
            cleanup.callback(subprocess.run, ["umount", "-l", names[name]], check=True)
        (place / "full" / "filler").write_bytes(b"x" * 60_000)
        with (place / "full" / "rest").open("wb", buffering=0) as rest:
            try:
                while rest.write(b"x" * 4096) == 4096:
                    pass
            except OSError:
                pass
        subprocess.run(["mount", "-o", "remount,ro", names["read_only"]], check=True)
        files = {
            "open": ('{"user": "ann", "password": "x"}', 0o644),
            "wrong": ('{"user": "ann", "password": "wrong"}', 0o600),
            "junk": ("this is no credential", 0o600),
            "a_file": ("", 0o600),
            "big": ("x" * 600_000, 0o600),
        }
        for name, (text, mode) in files.items():
            (place / name).write_text(text)
            (place / name).chmod(mode)
            names[name] = str(place / name)
        for name, config in (("garbage", "no section here\n\x00"), ("typo", "[qme]\nnats_ulr = nats://x\n")):
            (place / name).mkdir()
            (place / name / "config").write_text(config)
            names[name] = str(place / name)
        (place / "empty").mkdir()
        names |= {"missing": str(place / "missing"), "empty": str(place / "empty")}
        yield names


def check(stack: Stack, mistake: Mistake, names: dict[str, str]) -> None:
    """Run one row and look at everything that it must not do."""
    words = [word.format(**names) for word in mistake.words]
    env = {name: value.format(**names) for name, value in mistake.env.items()}
    done = stack.qme(*words, env=env, stdin=mistake.stdin, timeout=40)
    stderr = done.stderr.decode()
    assert done.returncode == mistake.code, stderr
    assert done.stdout == b""
    assert "Traceback" not in stderr
    assert len(stderr.strip().split("\n")) == 1, stderr
    says = mistake.says
    for name, value in names.items():
        says = says.replace("{" + name + "}", re.escape(value))
    assert re.search(says, stderr), stderr


@pytest.mark.parametrize("mistake", WITHOUT_BUS, ids=[mistake.what for mistake in WITHOUT_BUS])
def test_without_a_bus(mistake: Mistake, world: dict[str, str], tmp_path: Path) -> None:
    """What can be seen without a bus is said without starting one."""
    home = tmp_path / "home"
    home.mkdir()
    check(Stack(home), mistake, world)
    assert not (home / "local").exists()


@pytest.fixture(scope="module")
def busy(stack: Stack, world: dict[str, str]) -> Iterator[dict[str, str]]:
    """A stack with a task that runs, one that has ended, and a record that somebody has spoilt."""
    running = stack.ok("submit", "sleep", "600").strip()
    ended = stack.ok("submit", "--wait", "--key", "once", "true").strip()
    corrupt = stack.ok("submit", "--wait", "echo", "spoilt").strip()
    spoil(stack, corrupt)
    yield {**world, "running": running, "ended": ended, "corrupt": corrupt, "key": "once"}
    stack.qme("cancel", running)
    stack.qme("clear", corrupt, "--force")


def spoil(stack: Stack, uid: str) -> None:
    """Overwrite a record with something that is none, as a broken program with credentials could."""
    script = (
        "import asyncio, json, os, sys\n"
        "from qme.bus.connect import connect\n"
        "from qme.contracts import subjects\n"
        "from qme.local import ensure\n"
        "from qme.settings import load\n"
        "async def main():\n"
        "    settings = load().settings\n"
        "    here = await ensure(settings)\n"
        "    bus = await connect(settings, url=here.url, creds=here.creds, name='test')\n"
        "    stream = subjects.bucket_stream(subjects.BUCKET_TASKS)\n"
        "    pattern = subjects.bucket_subject(subjects.BUCKET_TASKS, subjects.any_key(sys.argv[1]))\n"
        "    found = await bus.last(stream, pattern, leader=True)\n"
        "    await bus.append(found.subject, b'{\"uid\": 7')\n"
        "    await bus.close()\n"
        "asyncio.run(main())\n"
    )
    words = [sys.executable, "-c", script, uid[-36:]]
    subprocess.run(words, env=stack.env, check=True, timeout=30)


@pytest.mark.parametrize("mistake", ON_A_STACK, ids=[mistake.what for mistake in ON_A_STACK])
def test_on_a_stack(mistake: Mistake, busy: dict[str, str], stack: Stack) -> None:
    """A mistake is refused and changes nothing for the tasks that are there."""
    check(stack, mistake, busy)
    assert stack.record(busy["running"])["status"] == "running"


def test_a_corrupt_record_hides_no_other(stack: Stack, busy: dict[str, str]) -> None:
    """Listing goes on past it and says that there is one; --force removes it."""
    extra = stack.ok("submit", "--wait", "echo", "spoilt too").strip()
    spoil(stack, extra)
    listed = stack.qme("ls", "--json")
    assert busy["ended"] in [record["uid"] for record in json.loads(listed.stdout)]
    assert b"can't be read" in listed.stderr
    stack.ok("clear", extra, "--force")
    assert stack.qme("get", extra).returncode == 3


def test_command_that_is_not_utf8(stack: Stack) -> None:
    """Such a command is refused: it could not be shown, searched or stored as it is."""
    done = subprocess.run(
        [*map(os.fsencode, stack.command("submit", "echo")), b"caf\xe9"],
        env=stack.env,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert b"UTF-8" in done.stderr
    assert done.stdout == b""


def test_port_taken_while_the_stack_was_down(tmp_path: Path) -> None:
    """The stack comes up on another port, with all that it had."""
    own = Stack(tmp_path)
    try:
        own.ok("up", "--detach")
        kept = own.ok("submit", "--wait", "echo", "kept").strip()
        url = next((tmp_path / "local").glob("*/*.json"), None)
        assert url is not None
        port = int(re.search(r"127\.0\.0\.1:(\d+)", url.read_text()).group(1))  # type: ignore[union-attr]
        own.ok("down")
        with socket.socket() as squatter:
            squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            squatter.bind(("127.0.0.1", port))
            squatter.listen()
            assert own.ok("logs", kept) == "kept\n"
            assert own.qme("run", "echo", "again").stdout == b"again\n"
    finally:
        own.qme("down", "--cancel")


def test_page_is_printed_from_the_table() -> None:
    """docs/mistakes.md holds what the table holds."""
    assert (ROOT / "docs" / "mistakes.md").read_text() == page()


def test_secrets_stay_out_of_errors(world: dict[str, str], tmp_path: Path) -> None:
    """A password in the address of the bus is not repeated in the error."""
    secret = base64.b64encode(os.urandom(9)).decode()
    done = Stack(tmp_path).qme(
        "ls", env={"QME_NATS_URL": f"nats://ann:{secret.replace('/', 'x')}@{world['dead']}"}
    )
    assert done.returncode == 5
    assert secret.replace("/", "x") not in done.stderr.decode()

"""Commands run through the keeper as they would run directly."""

import os
import signal
import stat
import sys
import time
from pathlib import Path

import pytest

from qme.errors import NotFound
from qme.executor.commands import AlreadyStarted, Expired, KeeperError, Started
from qme.executor.keeper import launch, proc
from qme.executor.recovery import Ended, NotStarted, Running

from .conftest import Lab, keeper_pid, until


async def test_output_and_record_of_a_command(lab: Lab):
    """Output in two files of its own, times and usage in the record."""
    before = time.time()
    script = "echo out; echo err >&2; head -c 20000000 /dev/zero | tail -c 9000000 | wc -c"
    end, out, err = await lab.run("sh", "-c", script)
    assert (end.returncode, out, err) == (0, "out\n9000000\n", "err\n")
    assert before - 0.1 <= end.started <= end.finished <= time.time() + 0.1
    assert end.utime + end.stime > 0
    assert end.maxrss_kb > 0
    assert end.error is None


async def test_every_exit_code(lab: Lab):
    """0 to 255 come back as they are."""
    folders = [await lab.start("/bin/sh", "-c", f"exit {code}") for code in range(256)]
    assert [(await lab.ended(folder)).returncode for folder in folders] == list(range(256))


@pytest.mark.parametrize(
    "name", ["HUP", "INT", "QUIT", "ABRT", "KILL", "SEGV", "PIPE", "ALRM", "TERM", "USR1", "XFSZ"]
)
async def test_signals(lab: Lab, name: str):
    """No signal is ignored or blocked in a command; its end by one is told as 128 + n."""
    number = getattr(signal, f"SIG{name}")
    end, _, _ = await lab.run("sh", "-c", f"ulimit -c 0; kill -{name} $$")
    assert (end.status, end.signal, end.returncode) == (-number, number, 128 + number)


async def test_a_command_starts_clean(lab: Lab):
    """Own session, no signal blocked or ignored, no descriptor but three, no terminal, stdin empty."""
    lines = (
        "import os, signal",
        "print(os.getsid(0) == os.getpid() == os.getpgid(0), sorted(os.listdir('/proc/self/fd'))[:3],",
        "  len(os.listdir('/proc/self/fd')), os.read(0, 9), signal.pthread_sigmask(signal.SIG_BLOCK, []))",
        "print([int(l.split()[1], 16) & 0x7fffffff for l in open('/proc/self/status') if l.startswith('SigIgn')])",
    )
    _, out, err = await lab.run(sys.executable, "-c", "\n".join(lines))
    # Python itself ignores PIPE (13) and XFSZ (25), glibc's posix_spawn its own two (32, 33) that no program sees.
    assert out == f"True ['0', '1', '2'] 4 b'' set()\n[{1 << 12 | 1 << 24}]\n", err


@pytest.mark.parametrize(
    "arguments",
    [
        ["", " ", "a b", ""],
        ["ünï", "日本", "🙂", "e\u0301"],
        ["a\nb", "\t", "\\n", "'\"", "$HOME", "*", "-n"],
        [str(n) for n in range(2000)],
        ["\udcff\udcfe"],
    ],
    ids=["empty", "unicode", "special", "many", "not-utf8"],
)
async def test_arguments_arrive_as_they_are(lab: Lab, arguments: list[str]):
    """No word is split, expanded, dropped or recoded."""
    code = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(os.fsencode(a) for a in sys.argv[1:]))"
    folder = await lab.start(sys.executable, "-c", code, *arguments)
    assert (await lab.ended(folder)).returncode == 0
    assert folder.stdout.read_bytes() == b"\0".join(os.fsencode(word) for word in arguments)


async def test_environment_folder_umask_and_stdin(lab: Lab, tmp_path: Path):
    """The environment is exactly the one given, the folder and mask too; stdin is binary."""
    data = tmp_path / "data"
    data.write_bytes(bytes(range(256)) * 400)
    folder = await lab.start(
        "/bin/sh", "-c", "/bin/cat; /usr/bin/touch made; pwd >&2; /usr/bin/env >&2",
        cwd=tmp_path, umask=0o027, stdin=data, env={"A": "ü b"},
    )  # fmt: skip
    assert (await lab.ended(folder)).returncode == 0
    assert folder.stdout.read_bytes() == data.read_bytes()
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o640
    lines = folder.stderr.read_text().splitlines()
    assert lines[0] == str(tmp_path)
    assert {line.split("=")[0] for line in lines[1:]} == {"A", "QME_TASK_ID", "QME_UID", "PWD"}
    assert f"QME_TASK_ID={folder.path.name}" in lines


async def test_the_files_are_private(lab: Lab):
    """Output is its user's alone, whatever umask the command asked for."""
    folder = await lab.start("true", umask=0)
    await lab.wait(folder)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.path.iterdir()}
    assert modes == dict.fromkeys(["start", "stdout", "stderr", "exit"], 0o600)
    assert stat.S_IMODE((lab.spool.path / "keeper.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


async def test_what_cannot_be_run_says_why(lab: Lab, tmp_path: Path):
    """127 or 126 as in a shell, and one line on stderr."""
    files = {"noexec": "echo", "script": "echo $0 ran", "badint": "#!/nosuch/python\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644 if name == "noexec" else 0o755)
    cases: list[tuple[list[str], int, str]] = [
        (["nosuch"], 127, "qme: nosuch: command not found"),
        ([""], 127, "qme: : command not found"),
        (["./nosuch"], 127, "qme: ./nosuch: No such file or directory"),
        (["./noexec"], 126, "qme: ./noexec: Permission denied"),
        (["noexec"], 126, "qme: noexec: Permission denied"),
        (["./"], 126, "qme: ./: Is a directory"),
        (["./badint"], 127, "qme: ./badint: /nosuch/python: bad interpreter"),
        (["a\0b"], 126, "qme: the command holds a NUL byte"),
        (["true", "x" * 200_000], 126, "qme: true: Argument list too long"),
        (["./script"], 0, ""),
        (["script"], 0, ""),
    ]
    for argv, code, text in cases:
        end, out, err = await lab.run(
            *argv, cwd=tmp_path, env={"PATH": ":/nosuch:/usr/bin:/bin", "LANG": "C.UTF-8"}
        )
        assert (end.returncode, err.strip()) == (code, text), argv
        assert end.error == (text.removeprefix("qme: ") or None)
        assert out == ("" if code else "./script ran\n")


async def test_a_folder_or_stdin_that_is_missing_says_so(lab: Lab, tmp_path: Path):
    """The command is not run somewhere else instead."""
    end, _, err = await lab.run("pwd", cwd=tmp_path / "gone")
    assert (end.returncode, err) == (
        126,
        f"qme: working directory {tmp_path}/gone: No such file or directory\n",
    )
    end, _, err = await lab.run("cat", stdin=tmp_path / "gone")
    assert (end.returncode, err) == (126, f"qme: stdin {tmp_path}/gone: No such file or directory\n")
    end, out, _ = await lab.run("pwd")
    assert (end.returncode, out) == (0, "/\n")


async def test_an_attempt_is_started_once(lab: Lab):
    """The second start is refused while it runs, after it ended, and by another keeper's client."""
    folder = await lab.start("sh", "-c", "echo once; sleep 0.2")
    assert await lab.again(folder, "echo", "twice") == AlreadyStarted()
    await lab.wait(folder)
    assert await lab.again(folder, "echo", "twice") == AlreadyStarted()
    assert folder.stdout.read_text() == "once\n"


async def test_a_late_start_is_dropped(lab: Lab):
    """Past its time the keeper starts nothing, and the attempt stays free."""
    folder = lab.spool.attempt("0199aaaa-0000-7000-8000-000000000001", 1)
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert await lab.again(folder, "true", not_after=now - 1) == Expired()
    assert await lab.keeper.find(folder.uuid, 1) == NotStarted()
    assert isinstance(await lab.again(folder, "true", not_after=now + 60), Started)


async def test_find_tells_the_three_states(lab: Lab):
    """Not started, running, ended; waiting for what never started is an error, not a hang."""
    nothing = lab.spool.attempt("0199aaaa-0000-7000-8000-000000000001", 1)
    assert await lab.keeper.find(nothing.uuid, 1) == NotStarted()
    with pytest.raises(NotFound):
        await lab.keeper.wait(nothing.uuid, 1)
    folder = await lab.start("sleep", "60")
    found = await lab.keeper.find(folder.uuid, 1)
    assert isinstance(found, Running)
    assert lab.keeper.running() == {(folder.uuid, 1): found.identity}
    os.kill(found.identity.pid, signal.SIGTERM)
    end = await lab.ended(folder)
    assert await lab.keeper.find(folder.uuid, 1) == Ended(end)
    assert lab.keeper.running() == {}


async def test_a_thousand_quick_commands(lab: Lab):
    """None is lost, mixed up or run twice."""
    folders = [await lab.start("/bin/sh", "-c", f"echo {n}; exit {n % 7}") for n in range(1000)]
    for n, folder in enumerate(folders):
        assert (await lab.ended(folder)).returncode == n % 7
        assert folder.stdout.read_text() == f"{n}\n"


async def test_many_at_once(lab: Lab):
    """Two hundred side by side, each with its own end."""
    folders = [await lab.start("/bin/sh", "-c", f"sleep 2; exit {n % 5}") for n in range(200)]
    assert len(lab.keeper.running()) > 100
    assert [(await lab.ended(folder)).returncode for folder in folders] == [n % 5 for n in range(200)]


async def test_a_spool_with_a_very_long_path(tmp_path: Path):
    """Longer than a socket's address can be."""
    from qme.executor.spool import Spool

    lab = Lab(Spool(tmp_path / ("x" * 120) / ("y" * 120)))
    end, out, _ = await lab.run("echo", "far")
    assert (end.returncode, out) == (0, "far\n")
    await lab.clean_up()


async def test_the_keeper_leaves_when_nobody_needs_it(lab: Lab):
    """Without client and command it ends by itself, and takes its socket along."""
    await lab.run("true")
    assert keeper_pid(lab.spool)
    await lab.keeper.close()
    await until(lambda: keeper_pid(lab.spool) is None)
    assert not (lab.spool.path / "keeper.sock").exists()
    assert (await lab.run("true"))[0].returncode == 0


async def test_the_keeper_refuses_what_it_does_not_understand(lab: Lab):
    """A request that makes no sense is answered, and harms nobody."""
    folder = await lab.start("sleep", "60")
    with pytest.raises(KeeperError, match="unknown request"):
        await lab.keeper._link.ask("dance")
    with pytest.raises(KeeperError, match="not an attempt"):
        await lab.keeper._link.ask("start", task="../x.1")
    with pytest.raises(KeeperError, match="KeyError"):
        await lab.keeper._link.ask("start", task="0199aaaa-0000-7000-8000-000000000001.1")
    assert not (lab.spool.tasks / "0199aaaa-0000-7000-8000-000000000001.1").exists()
    assert lab.members(folder)


def test_the_spawn_for_old_libraries_does_the_same(tmp_path: Path):
    """Where posix_spawn can't make sessions, the other way gives the same child."""
    with (tmp_path / "out").open("wb") as out:
        pid = launch._spawn_portable(
            "/bin/sh", ["sh", "-c", "echo $0 $A; exit 5"], {"A": "1"}, (0, out.fileno(), 2)
        )
        row = proc.process(pid)
        assert row
        assert row.session == pid
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert (tmp_path / "out").read_text() == "sh 1\n"

"""From a command line to an exit code: what needs no bus."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from qme.cli import main
from qme.cli.context import say
from qme.cli.verbs import VERBS


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's settings, and a site without a local stack: what looks for a bus fails at once."""
    for name in ("QME_NATS_URL", "QME_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QME_HOME", str(tmp_path))
    monkeypatch.setenv("QME_SITE_CONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("QME_EMBEDDED", "false")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"], ["help"]])
def test_help_names_every_verb(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """`qme` alone prints it, too."""
    assert main(argv) == 0
    printed = capsys.readouterr()
    assert all(f"  {verb} " in printed.out for verb in VERBS)
    assert printed.err == ""


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_help_of_its_own(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both ways to ask for it; the table of verbs names modules that exist."""
    assert main([verb, "--help"]) == 0
    asked = capsys.readouterr().out
    assert main(["help", verb]) == 0
    assert capsys.readouterr().out == asked
    assert asked.startswith(f"usage: qme {verb}")


@pytest.mark.parametrize("argv", [["version"], ["--version"], ["-V"]])
def test_version(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """One line."""
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith("qme ")


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("sumbit true", 2, "did you mean `qme submit`?"),
        ("zzz", 2, "lists the verbs"),
        ("ps", 2, "did you mean `qme ls`?"),
        ("status-of x", 2, "did you mean `qme ls`?"),
        ("stop", 2, "did you mean `qme down`?"),
        ("rm x", 2, "did you mean `qme clear`?"),
        ("kill x", 2, "did you mean `qme cancel`?"),
        ("show x", 2, "did you mean `qme get`?"),
        ("tail", 2, "did you mean `qme logs`?"),
        ("submit", 2, "no command; give one, such as `qme submit echo"),
        ("match", 2, "no command; give one, such as `qme match echo"),
        ("submit --", 2, "no command"),
        ("run", 125, "no command"),
        ("run --frobnicate true", 125, "frobnicate"),
        ("run --timeout banana true", 125, "banana"),
        ("run --timeout -5 true", 125, "timeout"),
        ("submit --retries -1 true", 2, "retries"),
        ("submit --label x true", 2, "'x'"),
        ("submit --label =x true", 2, "key=value"),
        ("submit --env QME_NO_SUCH true", 2, "QME_NO_SUCH"),
        ("submit --send missing true", 2, "missing"),
        ("submit --stdin missing true", 2, "missing"),
        ("submit --file missing", 2, "missing"),
        ("submit --array 5-1 true", 2, "5-1"),
        ("submit --array 1-2 --each-line x true", 2, "one of --array"),
        ("submit --array 1-2 --file empty", 2, "--file has many"),
        ("submit --each-line missing true", 2, "missing"),
        ("submit --at-once 2 true", 2, "--at-once needs"),
        ("submit --mem lots true", 2, "'lots'"),
        ("submit --priority high true", 2, "'high'"),
        ("submit --file empty", 2, "no command"),
        ("submit --file empty true", 2, "not both"),
        ("submit --key k --file empty", 2, "no command"),
        ("submit --mess x true", 2, "--mess"),
        ("get a b", 2, "b"),
        ("search (", 2, "regular expression (RE2): missing ): (\n"),
        ("exec last", 2, "did you mean `qme exec last output`?"),
        ("exec output last", 2, "did you mean `qme exec last output`?"),
        ("exec error 1234", 2, "did you mean `qme exec 1234 error`?"),
        ("exec a b c", 2, "not 3 words"),
        ("ls --status sleeping", 2, "sleeping"),
        ("ls --user x --all-users", 2, "not allowed"),
        ("wait", 2, "ID"),
        ("logs --stderr --both x", 2, "not allowed"),
        ("--lease soon config show", 2, "--lease"),
        ("--nats-ulr x ls", 2, "nats_url"),
        ("--lease", 2, "needs a value"),
        ("config nonsense", 2, "--set EXECUTOR KEY VALUE"),
        ("config show idlestop", 3, "did you mean idle_stop?"),
        ("config show zzzz", 3, "'zzzz'"),
        ("config --set idle_stop 1h", 2, "--set qme idle_stop 1h"),
        ("config --set idle_stop 1h x", 2, "--set qme idle_stop VALUE"),
        ("config --set shell slot 3", 2, "qme: shell slot: no such setting; did you mean slots?"),
        ("config --set shell slots many", 2, "qme: shell slots = 'many'"),
        ("config --set nosuch slots 3", 3, "nosuch"),
        ("config --set qme lease soon", 2, "soon"),
        ("ls", 5, "QME_NATS_URL"),
        ("run true", 125, "QME_NATS_URL"),
        ("wait 1234", 125, "QME_NATS_URL"),
        ("wait 1234 5678", 5, "QME_NATS_URL"),
        ("submit --wait true", 125, "QME_NATS_URL"),
        ("submit true", 5, "QME_NATS_URL"),
    ],
)
def test_mistakes_get_one_line_and_a_code(
    line: str, code: int, said: str, alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, beginning with `qme: `; nothing on stdout."""
    (alone / "empty").write_text("\n# only a comment\n")
    assert main(line.split()) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert printed.err.startswith("qme: ")
    assert printed.err.count("\n") == 1


def test_a_traceback_is_shown_to_those_who_ask(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """QME_LOG_LEVEL=debug."""
    monkeypatch.setenv("QME_LOG_LEVEL", "debug")
    assert main(["ls"]) == 5
    assert "Traceback" in capsys.readouterr().err


def test_settings_may_stand_before_the_verb(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both spellings, and `config show` says that they came from there."""
    assert main(["--lease", "99", "--log-chunk=2k", "config", "show"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert ["lease", "99s", "--lease"] in [row[:3] for row in rows]
    assert ["log_chunk", "2000", "--log-chunk"] in [row[:3] for row in rows]


@pytest.mark.parametrize(
    ("name", "keys"),
    [("idle_stop", ["idle_stop"]), ("idle-stop", ["idle_stop"]), ("shell.slots", ["shell.slots"])],
)
def test_config_shows_one_setting_with_its_meaning(
    name: str, keys: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """By its name as it is shown, or as a flag spells it."""
    assert main(["config", "show", name]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == keys
    assert all(len(row[3]) > 10 for row in rows)


def test_config_shows_an_executors_settings(capsys: pytest.CaptureFixture[str]) -> None:
    """Those alone; the name of one of its settings shows that of every executor."""
    assert main(["config", "show", "shell"]) == 0
    assert all(line.startswith("shell.") for line in capsys.readouterr().out.splitlines())
    assert main(["config", "show", "slots"]) == 0
    assert "shell.slots\t" in capsys.readouterr().out


def test_config_on_a_terminal_has_the_meaning_below(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole, however narrow it is."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["config", "show", "term_grace"]) == 0
    heading, row, meaning = capsys.readouterr().out.splitlines()
    assert heading.split() == ["SETTING", "VALUE", "FROM"]
    assert row.split() == ["term_grace", "5s", "default"]
    assert meaning == "    time from TERM to KILL"


def test_a_variable_that_is_nearly_a_settings_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, and one that is like none is left alone: it may be an executor's."""
    monkeypatch.setenv("QME_EMBEDED", "false")
    monkeypatch.setenv("QME_SHELL_SLOTS", "3")
    monkeypatch.setenv("QME_COFFEE", "black")
    assert main(["config", "path"]) == 0
    said = capsys.readouterr().err
    assert said == "qme: the variable QME_EMBEDED is no setting; did you mean QME_EMBEDDED?\n"


@pytest.mark.parametrize("verb", ["run", "submit", "wait"])
def test_help_tells_the_exit_codes(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the verbs that exit as commands do."""
    assert main([verb, "--help"]) == 0
    printed = capsys.readouterr().out
    assert "the command's own; 128+n" in printed
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.parametrize("verb", ["wait", "cancel"])
def test_help_tells_what_an_id_is(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where one has to be given."""
    assert main([verb, "--help"]) == 0
    assert "a unique beginning" in capsys.readouterr().out


def test_help_of_exec_has_its_three_forms(capsys: pytest.CaptureFixture[str]) -> None:
    """One a line; the usage stays short."""
    assert main(["exec", "--help"]) == 0
    usage, *lines = capsys.readouterr().out.splitlines()
    assert usage == "usage: qme exec [-h] [--admin] WORD [WORD ...]"
    forms = [line.split()[2] for line in lines if line.startswith("  qme exec ")]
    assert forms == ["EXECUTOR", "ACTION", "ID"]


def test_config_writes_what_it_then_shows(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A general setting is checked and lands in the file that `config path` names."""
    assert main(["config", "--set", "qme", "lease", "77"]) == 0
    assert "next start" in capsys.readouterr().err
    assert main(["config", "--set", "shell", "slots", "3"]) == 0
    assert "the worker takes it from its next start on" in capsys.readouterr().err
    assert main(["config", "path"]) == 0
    assert capsys.readouterr().out == f"{alone}/config\n"
    assert main(["config"]) == 0
    assert f"lease\t77s\t{alone}/config [qme] lease" in capsys.readouterr().out


def test_what_is_said_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A reason that a worker gave may hold anything; lines stay lines."""
    say("why: \x1b]0;title\x07\x9b2J\rok\nsecond line, grüße")
    assert capsys.readouterr().err == "qme: why: \\x1b]0;title\\x07\\x9b2J\\rok\nsecond line, grüße\n"

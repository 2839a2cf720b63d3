"""From a command line to an exit code: what needs no bus."""

from __future__ import annotations

from pathlib import Path

import pytest

from qme.cli import main
from qme.cli.verbs import VERBS


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's settings, and a site without a local stack: what looks for a bus fails at once."""
    for name in ("QME_NATS_URL", "QME_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QME_HOME", str(tmp_path))
    monkeypatch.setenv("QME_SITE_CONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("QME_EMBEDDED", "false")
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
        ("submit", 2, "no command"),
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
        ("submit --file empty", 2, "no command"),
        ("submit --file empty true", 2, "not both"),
        ("submit --key k --file empty", 2, "--key"),
        ("submit --mess x true", 2, "--mess"),
        ("get a b", 2, "b"),
        ("search (", 2, "regular expression"),
        ("ls --status sleeping", 2, "sleeping"),
        ("ls --user x --all-users", 2, "not allowed"),
        ("wait", 2, "ID"),
        ("logs --stderr --both x", 2, "not allowed"),
        ("--lease soon config show", 2, "--lease"),
        ("--nats-ulr x ls", 2, "nats_url"),
        ("--lease", 2, "needs a value"),
        ("config nonsense", 2, "config"),
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
    assert ["lease", "99s", "--lease"] in rows
    assert ["log_chunk", "2000", "--log-chunk"] in rows


def test_config_writes_what_it_then_shows(alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A general setting is checked and lands in the file that `config path` names."""
    assert main(["config", "--set", "qme", "lease", "77"]) == 0
    capsys.readouterr()
    assert main(["config", "path"]) == 0
    assert capsys.readouterr().out == f"{alone}/config\n"
    assert main(["config"]) == 0
    assert f"lease\t77s\t{alone}/config [qme] lease" in capsys.readouterr().out

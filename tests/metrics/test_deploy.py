"""What lies in deploy/ for Prometheus and Grafana is sound, and the runbook answers every alert."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.metrics.site import DEPLOY, ROOT
from tests.metrics.table import GROUPS, tables

from qme.cli.parsing import Parser
from qme.cli.verbs import VERBS
from qme.errors import InvalidRequest

RULES = DEPLOY / "prometheus/qme.rules.yml"
TESTS = sorted((DEPLOY / "prometheus/tests").glob("*.yml"))
RUNBOOK = (ROOT / "docs/deploy/runbook.md").read_text()
PAGE = (ROOT / "docs/deploy/metrics.md").read_text()
ALERTS = re.findall(r"^ +- alert: (\w+)$", RULES.read_text(), re.MULTILINE)
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))
#: programs of others that the runbook uses
OTHERS = {"curl", "df", "du", "loginctl", "sacct", "sacctmgr", "scontrol", "sinfo", "squeue"}


def promtool(*words: str | Path) -> str:
    """Run promtool, which must be content."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed here")
    done = subprocess.run(
        [program, *map(str, words)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_rules_and_configuration(tmp_path: Path) -> None:
    """Lint is an error."""
    promtool("check", "rules", "--lint-fatal", RULES)
    shutil.copytree(DEPLOY / "prometheus", tmp_path / "etc")
    (tmp_path / "etc/metrics-token").write_text("x" * 32)
    promtool("check", "config", tmp_path / "etc/prometheus.yml")


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_alerts_fire_when_they_should_and_only_then(file: Path) -> None:
    """The unit tests of the rules."""
    promtool("test", "rules", file)


def test_every_alert_is_tested_firing_and_silent() -> None:
    """An alert that nobody has seen fire is a guess, and one that always fires is none."""
    cases = re.findall(
        r"alertname: (\w+)(.*?)(?=alertname:|\Z)", "".join(map(Path.read_text, TESTS)), re.DOTALL
    )
    silent = {name for name, rest in cases if "exp_alerts: []" in rest}
    firing = {name for name, rest in cases if "exp_labels" in rest}
    assert len(ALERTS) >= 15
    assert firing == set(ALERTS) == silent


def test_rules_and_panels_use_what_qme_exports() -> None:
    """Each metric that is named in a rule or a panel is one of the documented ones."""
    known = {row.name for rows in GROUPS.values() for row in rows()} | {"qme_build_info"}
    board = (DEPLOY / "grafana/dashboards/qme.json").read_text()
    used = set(re.findall(r"\bqme_\w+", " ".join(re.findall(r'"expr": "(.*)"', board))))
    used |= set(re.findall(r"\bqme_\w+", re.sub(r"name: .*|runbook: .*", "", RULES.read_text())))
    plain = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    assert plain - known == set()


@pytest.mark.parametrize("alert", ALERTS)
def test_the_runbook_has_a_section_for_each_alert(alert: str) -> None:
    """What it means, how to look, what to do; and the alert links to it."""
    assert f"runbook: docs/deploy/runbook.md#{alert.lower()}\n" in RULES.read_text()
    section = SECTIONS[alert]
    assert section.count("```sh") >= 1
    assert len(re.sub(r"```sh.*?```", "", section, flags=re.DOTALL).split()) >= 15


def test_the_runbook_has_no_section_of_an_alert_that_is_gone() -> None:
    """Nobody would find out."""
    assert list(SECTIONS) == ALERTS


def _commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", RUNBOOK, re.DOTALL)
    return sorted({line for block in blocks for line in block.splitlines()})


@pytest.mark.parametrize("command", _commands())
def test_the_runbooks_commands_exist(command: str) -> None:
    """Verbs take these words and options, and units are those that are shipped."""
    program, *words = shlex.split(command)
    if program == "qme":
        verb, *arguments = words
        if verb != "match":  # takes a whole command
            _parse(verb, arguments)
        assert verb in VERBS
    elif program in ("systemctl", "journalctl"):
        units = [word for word in words if word.startswith("qme-")]
        folder = DEPLOY / "systemd" / ("user" if "--user" in words else "system")
        for unit in units:
            assert (folder / f"{re.sub('@.*', '@', unit)}.service").exists(), unit
        assert units
    else:
        assert program in OTHERS


def _parse(verb: str, arguments: list[str]) -> None:
    found = importlib.import_module(f"qme.cli.{VERBS[verb].module}").VERBS[verb]
    parser = Parser(f"qme {verb}", VERBS[verb].summary)
    found.arguments(parser)
    try:
        parser.parse_args(arguments)
    except InvalidRequest as error:
        pytest.fail(error.message)


def test_the_page_has_the_tables_of_the_code() -> None:
    """docs/deploy/metrics.md has what `make metrics` prints."""
    missing = [table for table in tables().split("\n\n") if table not in PAGE]
    assert missing == []


def test_the_dashboard_can_be_provisioned() -> None:
    """Its panels have ids of their own and the data source of the provisioning, and don't lie on each other."""
    board = json.loads((DEPLOY / "grafana/dashboards/qme.json").read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    (source,) = [one for one in board["templating"]["list"] if one["type"] == "datasource"]
    provisioned = (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text()
    assert f"uid: {source['current']['value']}\n" in provisioned
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells

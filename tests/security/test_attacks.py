"""Least privilege holds where it matters: real tasks run under it, and each attack that is known here is refused."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.security.conftest import EVES
from tests.security.site import PATIENCE, Probe, Site, until

from qme.contracts import rights, subjects
from qme.contracts.executors import Definition
from qme.contracts.rights import Role
from qme.contracts.tasks import Holder
from qme.errors import QmeError
from qme.settings import Settings
from qme.worker.connection import open_bus
from qme.worker.predecessors import are_over, heard

pytestmark = [pytest.mark.nats, pytest.mark.timeout(400)]
NOT_PERMITTED = 4


async def _running(site: Site) -> str:
    """A task of ann's that runs until it is cancelled."""
    uid = site.ok("user:ann", "submit", "--pool", "lab", "sleep", "600")
    await until(lambda: _seen(site, uid)["status"] == "running", "it runs")
    return uid


def _seen(site: Site, uid: str) -> dict[str, object]:
    """What a task is, without what changes by itself while it runs."""
    record = json.loads(site.ok("user:ann", "get", uid))
    kept = ("uid", "pool", "command", "user", "status", "outcome", "attempt", "worker", "created")
    return {name: record[name] for name in kept}


async def _stored(site: Site) -> dict[str, tuple[int, int]]:
    """First and last sequence of each stream: what is added or removed shows here."""
    probe = await Probe.open(site, "submitter:site")
    found = {}
    for stream in rights.STREAMS:
        answer = await probe.client.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=PATIENCE)
        state = json.loads(answer.data)["state"]
        found[stream] = (state["messages"], state["last_seq"])
    await probe.client.close()
    return found


def test_a_task_runs_from_end_to_end(working_site: Site):
    """Submit, follow, wait, read, search, rerun, cancel, act: nothing that a user does lacks a right."""
    site = working_site
    done = site.qme("user:ann", "run", "--pool", "lab", "sh", "-c", "echo hello moto; exit 3")
    assert (done.returncode, done.stdout) == (3, "hello moto\n"), done.stderr
    record = json.loads(site.ok("user:ann", "get"))
    assert (record["status"], record["pool"], record["user"]) == ("complete", "lab", "ann")
    uid = record["uid"]
    assert site.ok("user:ann", "logs", uid) == "hello moto"
    assert site.ok("user:ann", "logs", uid[-6:]) == "hello moto"
    assert uid in site.ok("user:ann", "ls")
    assert site.ok("user:ann", "exec", uid, "output").strip() != ""
    assert "complete" in site.ok("user:ann", "events", uid) or "failed" in site.ok("user:ann", "events", uid)
    site.ok("user:ann", "rerun", uid)
    assert site.qme("user:ann", "wait", uid).returncode == 3
    sleeper = site.ok("user:ann", "submit", "--pool", "lab", "sleep", "600")
    site.ok("user:ann", "cancel", sleeper)
    assert site.qme("user:ann", "wait", sleeper, "--timeout", "60").returncode not in (0, 9)
    assert json.loads(site.ok("user:ann", "get", sleeper))["status"] == "cancelled"
    assert site.qme("user:ann", "doctor").returncode == 0
    site.ok("user:ann", "clear", "--force", uid)


def test_programs_are_refused_nothing_that_they_need(working_site: Site):
    """The server's log tells of no refusal for those who did nothing wrong: the rights are complete."""
    log = (working_site.folder / "nats/log").read_text()
    names = {
        who: _public(working_site, who)
        for who in ("user:ann", "worker:lab", "submitter:site", "operator:olga")
    }
    refused = [
        line.rpartition(" - ")[2] for line in log.splitlines() if any(name in line for name in names.values())
    ]
    assert [what for what in refused if what.startswith("Subject")] == []


async def test_nobody_changes_what_is_anothers(working_site: Site):
    """Cancel, rerun and clear of another's task are refused with exit 4; an operator may."""
    site = working_site
    uid = await _running(site)
    for verb in ("cancel", "rerun", "clear"):
        assert (
            site.qme("user:eve", verb, *(["--force"] if verb == "clear" else []), uid).returncode
            == NOT_PERMITTED
        )
    assert site.qme("user:eve", "exec", uid, "cancel").returncode == NOT_PERMITTED
    site.ok("operator:olga", "cancel", "--admin", uid)
    site.qme("user:ann", "wait", uid, "--timeout", "60")
    assert json.loads(site.ok("user:ann", "get", uid))["status"] == "cancelled"


async def test_operators_alone_pause(working_site: Site):
    """A user is refused, whose task waits is told by whom and why, and the pool's worker obeys under its own rights."""
    site = working_site
    words = ("executors", "pause", "shell", "--pool", "lab", "--reason", "new disks")
    assert site.qme("user:ann", *words).returncode == NOT_PERMITTED
    site.ok("operator:olga", *words)
    try:
        await until(
            lambda: "new disks" in site.ok("user:ann", "executors", "shell", "--pool", "lab"), "it obeys"
        )
        uid = site.ok("user:ann", "submit", "--pool", "lab", "true")
        assert site.ok("user:ann", "why", uid).startswith("shell is paused by olga: new disks (")
    finally:
        site.ok("operator:olga", "executors", "resume", "shell", "--pool", "lab")
    assert site.qme("user:ann", "wait", uid, "--timeout", "60").returncode == 0


async def test_who_asked_for_what_is_on_the_audit_trail(working_site: Site):
    """Who submitted and who cancelled, in whose name, from which machine, and what was refused."""
    site = working_site
    uid = site.ok("user:ann", "submit", "--pool", "lab", "sleep", "600")
    assert site.qme("user:eve", "cancel", uid).returncode == NOT_PERMITTED
    site.ok("operator:olga", "cancel", "--admin", uid)

    def lines() -> list[list[str]]:
        return [
            line.split("\t")
            for line in site.ok("user:ann", "events", "--all-users", "--since", "1h").splitlines()
            if uid[-36:] in line
        ]

    await until(lambda: len(lines()) == 3, "all three are noted")
    host = os.uname().nodename.lower()
    assert [line[1:] for line in lines()] == [
        ["ann", "submit", "ann", host, "0", uid],
        ["eve", "cancel", "eve", host, "1", f"{uid[-36:]}:not_permitted"],
        ["olga", "cancel", "operator", host, "0", uid],
    ]
    hers = site.ok("user:ann", "events", "--user", "ann").splitlines()
    assert {line.split("\t")[1] for line in hers} == {"ann"}
    assert any(uid in line for line in hers)


async def test_nobody_speaks_for_another(working_site: Site):
    """Requests under another's name, as an operator, or past the submitters, are refused by the server itself."""
    site = working_site
    uid = await _running(site)
    key = f"shell.lab.{uid[-36:]}"
    attempts = (
        "qme.api.ann.submit",
        "qme.api.ann.cancel",
        "qme.admin.eve.cancel",
        "qme.admin.eve.approve",
        f"qme.tasks.{key}",
        f"$KV.qme_tasks.{key}",
        f"$KV.qme_specs.{key}",
        "$KV.qme_executors.ok.shell.u-eve",
        f"qme.logs.{key}.1.stdout",
        f"qme.events.{key}",
        f"qme.changes.{key}",
    )
    before = _seen(site, uid)
    for who in ("user:eve", "worker:eve"):
        probe = await Probe.open(site, who)
        got_through = [one for one in attempts if await probe.may_publish(one, b"{}", answered=False)]
        assert got_through == [], who
        await probe.client.close()
    assert _seen(site, uid) == before
    site.ok("user:ann", "cancel", uid)


async def test_an_answer_steered_elsewhere_arrives_nowhere(working_site: Site):
    """Whatever eve may ask, with a reply subject in a bucket, the queue, the JetStream API or a service: no effect.

    The answer can be a text of her own choice: she runs commands in the pool, and what they print is what she reads.
    """
    site = working_site
    uid = await _running(site)
    forged = site.ok("user:eve", "run", "--pool", "lab", "echo", json.dumps({"filter": "$KV.>"}))
    assert "filter" in forged
    printed = json.loads(site.ok("user:eve", "get"))["uid"][-36:]
    log = f"qme.logs.shell.lab.{printed}.1.stdout"
    worker, eve = await Probe.open(site, "worker:eve"), await Probe.open(site, "user:eve")
    ways = [
        (eve, f"{rights.pages('QME_LOGS')}.{log}", b""),
        (eve, rights.pages("QME_LOGS"), json.dumps({"seq": 1, "next_by_subj": log, "batch": 2}).encode()),
        (eve, "$JS.API.STREAM.MSG.GET.QME_LOGS", json.dumps({"last_by_subj": log}).encode()),
        (eve, "$JS.API.STREAM.INFO.KV_qme_tasks", b""),
        (eve, "qme.api.eve.match", b"{}"),
        (eve, "qme.action.eve.shell.lab.nobody", b"{}"),
        (worker, f"{rights.pages('QME_LOGS')}.{log}", b""),
        (worker, rights.pulling(EVES), b'{"batch":1,"expires":20000000}'),
        (worker, rights.pulling(EVES), b'{"batch":1,"no_wait":true}'),
    ]
    targets = (
        f"$KV.qme_tasks.shell.lab.{uid[-36:]}",
        f"$KV.qme_specs.shell.lab.{uid[-36:]}",
        "$KV.qme_executors.ok.shell.u-eve",
        f"qme.tasks.shell.lab.{uid[-36:]}",
        "$JS.API.STREAM.PURGE.KV_qme_tasks",
        "$JS.API.STREAM.PURGE.QME_LOGS",
        "$JS.API.STREAM.DELETE.KV_qme_specs",
        "$JS.API.CONSUMER.DELETE.QME_TASKS.shell_lab",
        "qme.api.ann.cancel",
        "qme.admin.olga.approve",
        f"qme.events.shell.lab.{uid[-36:]}",
    )
    before, record = await _stored(site), _seen(site, uid)
    for target in targets:
        for probe, subject, data in ways:
            await probe.client.publish(subject, data, reply=target)
    for probe in (eve, worker):
        await probe.refused()
        # Services believe that only the server makes replies that begin so.
        await probe.client.publish("qme.api.eve.match", b"{}", reply=f"{subjects.CROSSED}x.y")
        assert await probe.refused()
    # Whatever was to be stored has been: the same connection's next write is behind it.
    assert await worker.may_publish(f"$KV.qme_tasks.{EVES}.{printed}", b"{}")
    after = await _stored(site)
    grew = {name for name in after if after[name] != before[name]}
    assert grew <= {"KV_qme_tasks", "KV_qme_executors", "KV_qme_control", "QME_EVENTS"}, (before, after)
    assert after["KV_qme_tasks"][0] == before["KV_qme_tasks"][0] + 1
    assert _seen(site, uid) == record
    assert "not approved" not in site.ok("user:ann", "executors")
    for probe in (eve, worker):
        await probe.client.close()
    site.ok("user:ann", "cancel", uid)


async def test_an_executor_that_wants_everybodys_commands_gets_its_owners(working_site: Site):
    """A personal worker that advertises the pattern of all patterns for all users takes nothing of ann's."""
    site = working_site
    probe = await Probe.open(site, "worker:eve")
    greedy = Definition(
        executor="shell",
        pool="u-eve",
        matchstring=".*",
        priority=1000,
        version="999",
        account="eve",
        users=("*",),
        updated=datetime.now(UTC),
    )
    subject = f"$KV.qme_executors.{subjects.definition_key('shell', 'u-eve')}"
    assert await probe.may_publish(subject, greedy.model_dump_json().encode())
    await probe.client.close()
    await until(lambda: "u-eve" in site.ok("user:ann", "executors"), "the definition is known")
    assert site.ok("user:ann", "match", "--json", "echo", "x") != ""
    chosen = json.loads(site.ok("user:ann", "match", "--json", "echo", "x"))
    assert (chosen["executor"], chosen["pool"]) == ("shell", "lab")
    assert site.qme("user:ann", "submit", "--pool", "u-eve", "echo", "x").returncode == NOT_PERMITTED


def test_another_team_sees_and_changes_nothing(working_site: Site):
    """Mallory's team has the same names of streams, and none of ours."""
    site = working_site
    uid = site.ok("user:ann", "submit", "--pool", "lab", "true")
    site.ok("user:ann", "wait", uid)
    assert site.qme("user:mallory", "get", uid).returncode == 3
    assert site.qme("user:mallory", "cancel", uid).returncode == 3
    assert site.ok("user:mallory", "ls", "--all-users") == ""
    assert site.ok("user:mallory", "executors") == ""
    assert site.qme("user:mallory", "submit", "--pool", "lab", "true").returncode == 6


def test_no_secret_is_where_others_look(working_site: Site):
    """No seed stands in a log, a record, the audit trail, the command lines of processes, or the server's files."""
    site = working_site
    seeds = {json.loads(path.read_text())["seed"] for path in site.creds.values()}
    places: dict[str, str] = {}
    for path in site.folder.rglob("*"):
        if path.is_file() and path.parent.name != "creds":
            with suppress(OSError):
                places[str(path)] = path.read_bytes().decode(errors="replace")
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            places[str(process)] = process.read_bytes().decode(errors="replace")
    for verb in (["config", "show"], ["doctor"], ["ls", "--json"], ["export"]):
        places[" ".join(verb)] = site.qme("user:ann", *verb).stdout
    wrong = site.qme("user:ann", "ls", QME_NATS_URL="nats://ann:hunter2-secret@127.0.0.1:1")
    places["error"] = wrong.stdout + wrong.stderr
    assert "hunter2-secret" not in places["error"]
    assert [where for where, text in places.items() if any(seed in text for seed in seeds)] == []
    assert {path.stat().st_mode & 0o077 for path in site.creds.values()} == {0}


def _public(site: Site, who: str) -> str:
    role, name = who.split(":")
    return next(one.key for one in site.book.entries() if (one.role, one.name) == (Role(role).value, name))


async def test_a_worker_sees_who_lives_in_its_pool(working_site: Site, tmp_path: Path):
    """What a take-over goes by: the heartbeats of the worker's own pool, and of no other."""
    creds = working_site.creds["worker:lab"]
    settings = Settings(home=tmp_path, nats_url=working_site.server.url, nats_creds=creds)
    bus = await open_bus(settings, "worker shell")
    try:
        (worker,) = await heard(bus, "shell", "lab")
        assert await are_over(bus, "shell", "lab", [Holder(worker=worker)])
        assert not await are_over(bus, "shell", "lab", [Holder(worker=worker), Holder(worker="gone-1")])
        with pytest.raises(QmeError):
            await are_over(bus, "shell", "u-eve", [Holder(worker="gone-1")])
    finally:
        await bus.close()

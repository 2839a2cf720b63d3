"""The shipped images and deploy/compose.yaml, built without a registry and brought up on a real engine."""

from __future__ import annotations

import base64
import json
import shutil
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING

import pytest
from tests.deploy.composed import NODES
from tests.integration.stack import until

if TYPE_CHECKING:
    from tests.deploy.composed import Composed

# The first test builds the images, on a fresh machine the base as well.
pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(2400)]


def test_the_file_has_the_parts_of_a_site(composed: Composed) -> None:
    """Three NATS nodes, two submitters, a worker, dashboard and exporter, each of which says that it is healthy."""
    assert set(composed.health()) == {*NODES, "submitter-1", "submitter-2", "worker", "dashboard", "exporter"}
    assert set(composed.health().values()) == {"healthy"}


def test_no_container_has_rights_that_it_does_not_need(composed: Composed) -> None:
    """None is root or can become it, none writes outside its volume, and none is reached from another machine."""
    for name, one in composed.containers().items():
        host = one["HostConfig"]
        assert one["Config"]["User"] == "10001:10001", name
        assert (host["ReadonlyRootfs"], host["Privileged"], host["CapDrop"]) == (True, False, ["ALL"]), name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name
        published = [binding for bindings in host["PortBindings"].values() for binding in bindings]
        assert {binding["HostIp"] for binding in published} <= {"127.0.0.1"}, name
    for name in ("n1", "submitter-1", "worker", "dashboard"):
        tried = composed.inside(
            name, "sh", "-c", "id -u; echo x > /opt/qme/bin/qme; grep CapEff /proc/self/status"
        )
        assert tried.stdout.split() == ["10001", "CapEff:", "0" * 16], name
        assert "Read-only file system" in tried.stderr, name


def test_a_task_that_is_submitted_into_it_succeeds(composed: Composed) -> None:
    """From this machine, as the site's operator: run in the worker's container, and seen here and in the dashboard."""
    composed.ok("executors", "approve", "shell", "--pool", "site")
    script = "hostname; cat; echo kept > note; exit 0"
    done = composed.qme("run", "--pool", "site", "--cwd", "/var/lib/qme", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, "worker\n")
    (record,) = json.loads(composed.ok("ls", "--json"))
    assert (record["outcome"], record["user"]) == ("success", "operator")
    password = (composed.site / "keys/dashboard-password").read_text().strip()
    request = urllib.request.Request(f"{composed.dashboard}/api/tasks")
    request.add_header("Authorization", f"Basic {base64.b64encode(password.encode()).decode()}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        (shown,) = json.load(answer)["tasks"]
    assert (shown["outcome"], shown["pool"]) == ("success", "site")


def test_prometheus_reads_every_service(composed: Composed) -> None:
    """With the token that is mounted into it; and the exporter has counted the task that ran."""
    if shutil.which("prometheus") is None:
        pytest.skip("there is no prometheus: apt-get install prometheus")
    address = composed.watch()

    def value(query: str) -> float:
        asked = f"{address}/api/v1/query?query={urllib.parse.quote(query)}"
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                found = json.load(answer)["data"]["result"]
        except OSError:
            return 0.0
        return float(found[0]["value"][1]) if found else 0.0

    until(lambda: value('sum(up{job="qme"})') == 5, 180)
    until(lambda: value("sum(qme_tasks_finished_total)") >= 1, 180)


def test_a_new_pool_counts_after_two_reloads(composed: Composed) -> None:
    """Ann and a worker of hers are added while everything runs: on each node, and nobody is cut off."""
    away, book = composed.logs().count("the bus is away"), str(composed.site / "nats")
    ann = composed.ok("auth", "add", "user", "ann", "--dir", book).strip()
    hers = composed.ok("auth", "add", "worker", "ann", "--executor", "shell", "--dir", book).strip()
    assert composed.qme("ls", creds=ann).returncode != 0
    for times in (1, 2):
        composed.docker("kill", "--signal", "HUP", *composed.nodes())
        reloaded = len(NODES) * times
        until(lambda reloaded=reloaded: composed.logs().count("Reloaded server conf") == reloaded, 120)  # type: ignore[misc]
    worker = composed.start("worker", "shell", creds=hers)
    try:
        for node in range(len(NODES)):
            done = composed.qme("run", "--cwd", "/", "echo", "here", creds=ann, node=node)
            assert (done.returncode, done.stdout) == (0, "here\n"), done
    finally:
        worker.terminate()
        worker.wait()
    assert composed.logs().count("the bus is away") == away


def test_all_nodes_may_die_at_once(composed: Composed) -> None:
    """A submitter's health check says so, tasks wait, and what was there is there when the nodes are back."""
    uid = composed.ok("submit", "--pool", "site", "sh", "-c", "sleep 1; echo through it").strip()
    nodes = composed.nodes()
    check = ("python", "/opt/qme/healthy.py")
    assert composed.inside("submitter-1", *check).returncode == 0
    composed.docker("kill", *nodes)
    until(lambda: composed.inside("submitter-1", *check).returncode != 0, 120)
    composed.docker("start", *nodes)
    composed.ok("wait", uid, "--timeout", "120")
    assert composed.ok("logs", uid) == "through it\n"
    until(lambda: set(composed.health().values()) == {"healthy"}, 120)


def test_no_secret_of_the_site_is_shown(composed: Composed) -> None:
    """Neither a key nor a password stands in what containers say, in what the engine tells of them, or in images."""
    keys = [json.loads(path.read_text())["seed"] for path in (composed.site / "keys").glob("*.json")]
    password = (composed.site / "keys/dashboard-password").read_text().strip().partition(":")[2]
    tokens = [(composed.site / "keys" / name).read_text() for name in ("metrics-token", "grafana-password")]
    routes = (composed.site / "nats/routes.conf").read_text().split('"')[1]
    assert len(keys) == 5
    told = composed.logs() + json.dumps(composed.containers())
    told += "".join(composed.docker("top", one["Id"]) for one in composed.containers().values())
    told += "".join(
        composed.docker("history", "--no-trunc", one["Image"]) for one in composed.containers().values()
    )
    assert "submitter.ready" in told
    assert [secret for secret in (*keys, *tokens, password, routes) if secret in told] == []

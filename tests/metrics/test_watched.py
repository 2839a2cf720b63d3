"""A real Prometheus reads a real site: it counts the tasks that ran, every panel has data, and health means it."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter

import pytest
from tests.metrics.site import DEPLOY, SERVICES, Prometheus, Watched, until
from tests.metrics.table import GROUPS

from qme.exporter import catalog

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(600)]

#: what is run: how many, which command, options, and how it ends
WORK = (
    (14, "echo done", (), "success"),
    (6, "false", (), "failed"),
    (2, "sleep 300", ("--timeout", "1"), "timeout"),
    (1, "false", ("--retries", "1", "--retry-delay", "1"), "failed"),
    (4, "true", ("--pool", "lab"), "success"),
)
CANCELLED = 3
ENDED = sum((Counter({outcome: number}) for number, _, _, outcome in WORK), Counter({"cancelled": CANCELLED}))
EXPECTED = ENDED + Counter({"success": 1})  # what is run again ends again
FINISHED = "sum by (outcome) (qme_tasks_finished_total)"


def submit(watched: Watched, number: int, command: str, *options: str) -> list[str]:
    """Submit a command so many times, as ann."""
    lines = watched.site.folder / "lines"
    lines.write_text(f"{command}\n" * number)
    return watched.site.ok("user:ann", "submit", *options, "--file", str(lines)).split()


@pytest.fixture(scope="module")
def worked(watched: Watched, prometheus: Prometheus) -> Watched:
    """The site once all is done; the exporter was killed meanwhile."""
    exporter = next(one for one in watched.site._programs if "exporter" in one.args)  # type: ignore[operator]
    long = submit(watched, CANCELLED, "sleep 300")
    ids = [submit(watched, number, command, *options) for number, command, options, _ in WORK[:2]]
    until(lambda: sum(prometheus.by("outcome", FINISHED).values()) >= 3, "some were counted")
    exporter.send_signal(signal.SIGKILL)
    exporter.wait()
    watched.site.ok("user:ann", "cancel", *long)
    ids += [submit(watched, number, command, *options) for number, command, options, _ in WORK[2:]]
    again = ids[0][0]
    watched.site.ok("user:ann", "wait", again)
    watched.site.ok("user:ann", "rerun", again)
    watched.serve("exporter", "qme", "exporter")
    until(
        lambda: prometheus.by("outcome", FINISHED).items() >= EXPECTED.items(),
        f"{dict(EXPECTED)} are counted",
    )
    return watched


def test_the_counts_are_those_of_the_tasks_that_ran(worked: Watched, prometheus: Prometheus) -> None:
    """Of thirty tasks with several ends, though the exporter is killed meanwhile; no counter ever falls."""
    assert prometheus.by("outcome", FINISHED) == EXPECTED
    records = json.loads(worked.site.ok("user:ann", "ls", "--json", "--limit", "1000"))
    assert Counter(record["outcome"] for record in records) == ENDED
    assert prometheus.by("pool", "sum by (pool) (qme_tasks_submitted_total)") == {"lab": ENDED.total()}
    attempts = {"first": ENDED.total(), "retry": 1, "rerun": 1}
    assert prometheus.by("kind", "sum by (kind) (qme_task_attempts_total)") == attempts
    started = ENDED.total() + 2 - CANCELLED
    waited = prometheus.value("sum(qme_task_queue_wait_seconds_count)") or 0
    assert started <= waited <= started + CANCELLED  # some of those may have been cancelled as they waited
    ran = prometheus.by("outcome_class", "sum by (outcome_class) (qme_task_run_duration_seconds_count)")
    assert ran["ok"] == EXPECTED["success"]
    assert prometheus.value("max(resets(qme_tasks_finished_total[10m]))") == 0
    # The worker's own counts, which are of attempts, agree.
    assert prometheus.by("outcome", "sum by (outcome) (qme_worker_tasks_ended_total)")["success"] == 19
    until(lambda: prometheus.value("qme_exporter_behind_events") == 0, "all events are counted")
    assert prometheus.by("status", "sum by (status) (qme_tasks)") == {}


def test_every_panel_has_data(worked: Watched, prometheus: Prometheus) -> None:
    """Each query of the Grafana dashboard gives series on that Prometheus."""
    board = json.loads((DEPLOY / "grafana/dashboards/qme.json").read_text())
    queries = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in board["panels"]
        for target in panel.get("targets", ())
    }
    assert len(queries) > 40
    values = {"$__rate_interval": "5m", "$__range": "15m", "$executor": ".*"}

    def empty() -> list[str]:
        found = []
        for title, query in queries.items():
            for name, value in values.items():
                query = query.replace(name, value)
            assert "$" not in query, title
            if not prometheus.query(query):
                found.append(title)
        return found

    until(
        lambda: not (left := empty()) or (_ for _ in ()).throw(ValueError(left)), "every panel has data", 60
    )
    (variable,) = [one for one in board["templating"]["list"] if one["type"] == "query"]
    metric = re.match(r"label_values\((\w+), executor\)", variable["query"]["query"])
    assert metric is not None
    assert {one["metric"]["executor"] for one in prometheus.query(metric[1])} == {"shell", "slurm"}


def test_every_metric_is_documented(worked: Watched, prometheus: Prometheus) -> None:
    """What the pages show has a line in docs/deploy/metrics.md, and the other way round; one is there only at times."""
    names = prometheus.api("label/__name__/values")
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names if name.startswith("qme_")}
    documented = {row.name for rows in GROUPS.values() for row in rows()}
    assert shown | {catalog.OLDEST.name} == documented | {"qme_build_info"}


def test_every_alert_is_judged_and_none_fires_where_all_is_well(prometheus: Prometheus) -> None:
    """Prometheus can evaluate each rule on what qme really exports."""
    rules = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}
    firing = {rule["name"] for rule in rules if rule["state"] == "firing"}
    assert firing <= {
        "QmeSlurmAway",
        "QmeServiceDown",
    }  # there may be no Slurm; the exporter was killed just now


def test_health_means_it(worked: Watched, prometheus: Prometheus) -> None:
    """While the bus is away no service is ready, within seconds, and each is well: it recovers, and counts on."""
    assert worked.statuses("/readyz") == worked.statuses("/healthz") == dict.fromkeys(SERVICES, 200)
    worked.site.server.kill()
    try:
        until(lambda: worked.statuses("/readyz") == dict.fromkeys(SERVICES, 503), "none is ready", 30)
        assert worked.statuses("/healthz") == dict.fromkeys(SERVICES, 200)
    finally:
        worked.site.server.start()
    until(lambda: worked.statuses("/readyz") == dict.fromkeys(SERVICES, 200), "all are ready again")
    before = prometheus.by("outcome", FINISHED)
    submit(worked, 1, "true")
    after = {**before, "success": before["success"] + 1}
    until(lambda: prometheus.by("outcome", FINISHED) == after, "one more is counted")
    assert prometheus.value("max(resets(qme_tasks_finished_total[10m]))") == 0

"""The permission matrix: what can be done on the bus, by which role. A test tries each cell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tests.security.site import HPC, LAB

from qme.auth.accounts import Identity
from qme.contracts import rights, subjects
from qme.contracts.rights import Role
from qme.contracts.subjects import bucket_stream, bucket_subject

UUID = "0199c2f4-0000-7000-8000-000000000001"
API = "$JS.API"
COLUMNS = (
    Identity("qme", Role.USER, "ann"),
    Identity("qme", Role.OPERATOR, "olga"),
    Identity("qme", Role.DASHBOARD, "dash-main"),
    Identity("qme", Role.EXPORTER, "prom"),
    Identity("qme", Role.WORKER, "lab", LAB),
    Identity("qme", Role.SUBMITTER, "site"),
)


class Operation(NamedTuple):
    """A row: `{me}` in the subject stands for whoever tries."""

    what: str
    kind: str  #: publish or subscribe
    subject: str
    data: bytes = b"{}"
    answered: bool = True

    def subject_for(self, who: Identity) -> str:
        """The subject that this identity tries."""
        return self.subject.replace("{me}", who.user)

    def allowed(self, who: Identity) -> bool:
        """What the rights say."""
        its = who.rights.publish if self.kind == "publish" else who.rights.subscribe
        return any(subjects.matches(pattern, self.subject_for(who)) for pattern in its)


def _operations() -> Iterator[Operation]:
    def says(what: str, subject: str, data: bytes = b"{}", *, answered: bool = True) -> Operation:
        return Operation(what, "publish", subject, data, answered)

    def hears(what: str, subject: str) -> Operation:
        return Operation(what, "subscribe", subject)

    yield says("ask submitters: submit, cancel, rerun, clear, match", "qme.api.{me}.submit")
    yield says("the same under another's name", "qme.api.bob.cancel")
    yield says("cancel, rerun, clear others' tasks", "qme.admin.{me}.cancel")
    yield says("the same under another's name, as an operator", "qme.admin.bob.cancel")
    yield says("approve, forget, pause and resume executors", "qme.admin.{me}.pause")
    yield says("ask a worker for an action", "qme.action.{me}.shell.lab.w1")
    yield says("the same under another's name, to a worker", "qme.action.bob.shell.lab.w1")
    yield says("ask a worker as an operator", "qme.admin.{me}.action.shell.lab.w1")
    yield hears("answer what submitters are asked", "qme.api.*.submit")
    yield hears("answer what workers of the own pool are asked", "qme.action.*.shell.lab.w1")
    yield hears("answer what workers of another pool are asked", "qme.action.*.slurm.hpc.w2")
    for place, whose in ((LAB, "the own pool"), (HPC, "another pool")):
        executor, pool = place.executor, place.pool
        key = f"{place}.{UUID}"
        name = subjects.consumer(executor, pool)
        yield says(f"put a task into the queue of {whose}", f"qme.tasks.{key}")
        yield says(f"take tasks of {whose}", rights.pulling(place), b'{"batch":1,"expires":50000000}')
        yield says(f"acknowledge tasks of {whose}", f"$JS.ACK.QME_TASKS.{name}.1.1.1.1.0", answered=False)
        yield says(f"write a record of {whose}", bucket_subject("qme_tasks", key))
        yield says(f"write a spec of {whose}", bucket_subject("qme_specs", key))
        yield says(
            f"define an executor in {whose}", bucket_subject("qme_executors", f"def.{executor}.{pool}")
        )
        yield says(
            f"approve an executor of {whose} by hand",
            bucket_subject("qme_executors", f"ok.{executor}.{pool}"),
        )
        yield says(
            f"pause an executor of {whose} by hand",
            bucket_subject("qme_executors", f"pause.{executor}.{pool}"),
        )
        yield says(
            f"see whether an executor of {whose} is paused",
            f"{rights.pages('KV_qme_executors')}.{bucket_subject('qme_executors', f'pause.{executor}.{pool}')}",
            b"",
        )
        yield says(
            f"give signs of life in {whose}", bucket_subject("qme_executors", f"hb.{executor}.{pool}.w1")
        )
        yield says(f"write output of {whose}", f"qme.logs.{key}.1.stdout")
        yield says(
            f"read a spec of {whose}",
            f"{rights.pages('KV_qme_specs')}.{bucket_subject('qme_specs', key)}",
            b"",
        )
    for stream in rights.STREAMS:
        some = bucket_subject(stream.removeprefix("KV_"), "none") if stream.startswith("KV_") else "qme.none"
        yield says(f"read {stream} by subject", f"{rights.pages(stream)}.{some}", b"")
        yield says(f"read {stream} in pages", rights.pages(stream), b'{"seq":1,"batch":1}')
        yield says(f"read {stream}, the leader's word", f"{API}.STREAM.MSG.GET.{stream}", b'{"seq":1}')
        yield says(f"see the size of {stream}", f"{API}.STREAM.INFO.{stream}", b"")
        yield says(f"remove messages of {stream}", f"{API}.STREAM.PURGE.{stream}", b'{"filter":"none"}')
        yield says(f"change the settings of {stream}", f"{API}.STREAM.UPDATE.{stream}")
        # With a body, which the server answers by an error: this would leave nothing for the next cells.
        yield says(f"delete {stream}", f"{API}.STREAM.DELETE.{stream}", b"not empty")
    for bucket, key in (("qme_users", "{me}"), ("qme_control", subjects.LEADER_KEY)):
        yield says(f"write {bucket_stream(bucket)}", bucket_subject(bucket, key))
    yield says("write the exporter's totals", bucket_subject("qme_control", subjects.TOTALS_KEY))
    yield says("count the audit trail", rights.COUNTED, b'{"batch":1,"expires":50000000}')
    yield says("acknowledge what was counted", "$JS.ACK.QME_EVENTS.exporter.1.1.1.1.0", answered=False)
    yield says("make a consumer of the queue", f"{API}.CONSUMER.CREATE.QME_TASKS.mine.qme.tasks.>")
    yield says("make a consumer of the records", f"{API}.CONSUMER.CREATE.KV_qme_tasks.mine.$KV.qme_tasks.>")
    yield says("make a consumer of the audit trail", f"{API}.CONSUMER.CREATE.QME_EVENTS.mine.qme.events.>")
    yield says("remove a consumer", f"{API}.CONSUMER.DELETE.QME_TASKS.none", b"")
    yield says("write the audit trail", f"qme.events.{LAB}.{UUID}")
    yield says("write the audit trail of requests", "qme.events.req.submitter.ann")
    yield says("tell others of changes that are none", f"qme.changes.{LAB}.{UUID}", answered=False)
    yield hears("follow changes", subjects.CHANGES)
    yield hears("follow output", subjects.EVERY_LOG)
    yield hears("follow executors", bucket_subject("qme_executors", ">"))
    yield hears("hear the own inbox", f"{subjects.inbox('{me}')}.x")
    yield hears("hear another's inbox", f"{subjects.inbox('bob')}.x")
    yield says("write into another's inbox", f"{subjects.inbox('bob')}.x", answered=False)
    yield says("look for services", "$SRV.PING")
    yield hears("hear everything", ">")


OPERATIONS = tuple(_operations())


def table() -> str:
    """Give the matrix as Markdown."""
    heads = ("what", *(who.role.value for who in COLUMNS))
    rows = [heads, ("---", *(":-:" for _ in COLUMNS))]
    for operation in OPERATIONS:
        rows.append((operation.what, *("yes" if operation.allowed(who) else "" for who in COLUMNS)))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201

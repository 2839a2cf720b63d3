"""The copy of the records: what it answers, and that it stays right whatever order the news comes in."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from qme.bus.kv import Corrupt, Removed
from qme.client.mirroring import Batch, Item
from qme.errors import InvalidRequest
from qme_dashboard import queries
from qme_dashboard.queries import Filter, Paging
from qme_dashboard.store import IDLE, Store

from .tasks import NOW, entry, uuid_of


def numbers(store: Store, wanted: Filter, **paging: object) -> list[int]:
    """The tasks of a page, by number."""
    _, rows = store.page(wanted, Paging(**paging))  # type: ignore[arg-type]
    return [int(row["uuid"][-12:], 16) for row in rows]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), [5, 4, 3, 2, 1, 0]),
        (Filter(user="bob"), [0]),
        (Filter(executor="slurm"), [4]),
        (Filter(states=frozenset({"failure"})), [4, 3]),
        (Filter(states=frozenset({"timeout", "queued"})), [4, 0]),
        (Filter(states=frozenset({"complete"})), [4, 3, 2]),
        (Filter(labels={"sample": "7"}), [1]),
        (Filter(labels={"sample": "8"}), []),
        (Filter(labels={'a" OR 1': "x"}), []),
        (Filter(query=r"^sbatch\b"), [4]),
        (Filter(query="NO SUCH"), [3]),
        (Filter(query="' OR 1=1 --"), []),
        (Filter(since=NOW - 250), [5, 4]),
        (Filter(states=frozenset({"failure"}), query="echo"), [3]),
    ],
    ids=str,
)
def test_a_filter_takes_what_it_says(filled: Store, wanted: Filter, found: list[int]) -> None:
    """Each condition narrows, several narrow together, and no value is ever SQL."""
    assert numbers(filled, wanted) == found
    assert filled.page(wanted, Paging())[0] == len(found)


@pytest.mark.parametrize("sort", queries.SORTS)
def test_every_sort_and_page_gives_each_task_once(filled: Store, sort: str) -> None:
    """Pages of two in any order hold all six tasks, and backwards is backwards."""
    pages = [
        numbers(filled, Filter(), sort=sort, descending=False, page=page, size=2) for page in (1, 2, 3, 4)
    ]
    assert sorted(number for page in pages for number in page) == [0, 1, 2, 3, 4, 5]
    assert pages[3] == []


def test_a_search_is_paged_and_follows_changes(filled: Store) -> None:
    """Its pages follow each other, and what changed since the last look is in the next one."""
    wanted = Filter(query="echo")
    assert [numbers(filled, wanted, page=page, size=2) for page in (1, 2, 3)] == [[5, 3], [2, 1], []]
    filled.apply(Batch([entry(8, created=NOW)], whole=True))
    assert numbers(filled, wanted, size=2) == [8, 5]
    filled.apply(Batch([entry(2, revision=50)], fresh=True))
    filled.apply(Batch(whole=True))
    assert numbers(filled, wanted) == [2]


def test_what_can_not_be_asked_is_refused(filled: Store) -> None:
    """A bad sort, page or expression is an error with a sentence, not an empty table."""
    with pytest.raises(InvalidRequest, match="sorted by 'uuid; DROP'"):
        Paging(sort="uuid; DROP")
    with pytest.raises(InvalidRequest, match="first one is 1"):
        Paging(page=0)
    with pytest.raises(InvalidRequest, match="1 to 1000"):
        Paging(size=5000)
    with pytest.raises(InvalidRequest, match="not a regular expression"):
        filled.page(Filter(query="(["), Paging())


def test_tiles_backlog_and_figures(filled: Store) -> None:
    """What the overview counts, from the same six tasks."""
    assert filled.groups() == {
        "queued": 1, "running": 1, "success": 1, "failure": 2, "cancelled": 1, "lost": 0, "unreadable": 0,
    }  # fmt: skip
    assert filled.rows(queries.backlog()) == [
        {"executor": "shell", "pool": "u-ann", "n": 1, "oldest": NOW - 600}
    ]
    ended = filled.rows(queries.ended_per(60, NOW - 3600))
    assert {row["outcome"]: row["n"] for row in ended} == {
        "success": 1, "failed": 1, "timeout": 1, "cancelled": 1,
    }  # fmt: skip
    assert all(row["at"] % 60 == 0 for row in ended)
    assert filled.quantiles("wait", NOW - 3600) == (20, 100)
    assert filled.quantiles("run", NOW - 3600) == (80, 99)
    assert filled.quantiles("run", NOW) == (None, None)


def test_the_last_line_of_stderr_is_kept(filled: Store) -> None:
    """A failure shows why at a glance."""
    (row,) = filled.named([uuid_of(3)])
    assert (row["complaint"], row["returncode"]) == ("no such file: x.fits", 3)


def test_a_label_is_its_whole_key_and_value(store: Store) -> None:
    """Neither a part of a key, nor a text that looks like another pair."""
    labels = [{"a": "b"}, {'x"a': "b"}, {"a": "bc"}, {"c": '"a": "b"'}, {"é": "ü"}]
    store.apply(Batch([entry(n, labels=one) for n, one in enumerate(labels)], fresh=True, whole=True))
    assert [numbers(store, Filter(labels=one)) for one in labels] == [[0], [1], [2], [3], [4]]


def test_selection_keeps_its_order_and_shows_new_states(filled: Store) -> None:
    """Tasks asked for by uuid come in that order, as they stand now, without those that are gone."""
    filled.apply(Batch([entry(1, revision=20, outcome="success"), Removed(entry(2).key, 21)], whole=True))
    rows = filled.named([uuid_of(3), uuid_of(2), uuid_of(1)])
    assert [(row["uuid"], row["grp"]) for row in rows] == [(uuid_of(3), "failure"), (uuid_of(1), "success")]


def test_older_news_changes_nothing(filled: Store) -> None:
    """A record read again from a replica that is behind does not put a task back."""
    filled.apply(Batch([entry(2, revision=1, status="queued")], whole=True))
    assert filled.named([uuid_of(2)])[0]["grp"] == "success"


def test_beginning_anew_drops_what_is_not_told_again(filled: Store) -> None:
    """After a bucket was made anew its revisions begin at 1: its records count, and the old ones go at the end."""
    filled.apply(Batch([entry(4, revision=1, status="queued")], fresh=True))
    assert len(numbers(filled, Filter())) == 6
    filled.apply(Batch([entry(7, revision=2, status="queued")], whole=True))
    assert numbers(filled, Filter(), sort="created") == [7, 4]
    assert filled.named([uuid_of(4)])[0]["grp"] == "queued"


def test_an_unreadable_record_is_shown(filled: Store) -> None:
    """It stands in the table with what is wrong, so that somebody can clear it."""
    filled.apply(Batch([Corrupt(entry(9).key, 30, "uid is no string")], whole=True))
    assert filled.groups()["unreadable"] == 1
    assert (
        filled.page(Filter(states=frozenset({"unreadable"})), Paging())[1][0]["reason"] == "uid is no string"
    )


def test_a_record_can_not_speak_for_another_task(filled: Store) -> None:
    """One that names another task than its key is shown as unreadable, and the other stays as it was."""
    forged = entry(2, revision=40, outcome="failed", command="forged")
    forged = replace(forged, key=entry(11).key)
    filled.apply(Batch([forged], whole=True))
    assert filled.named([uuid_of(2)])[0]["command"] == "echo 2"
    assert filled.named([uuid_of(11)])[0]["grp"] == "unreadable"


def test_trouble_shows_and_goes(filled: Store) -> None:
    """While the bus is away the copy says so and still answers."""
    filled.apply(Batch(trouble="no bus"))
    assert (filled.trouble, len(numbers(filled, Filter()))) == ("no bus", 6)
    filled.apply(Batch(whole=True))
    assert filled.trouble is None


def test_a_number_without_measure_takes_no_task_away(store: Store) -> None:
    """An executor may export what no database holds: that task has no exit code, and all are there."""
    store.apply(Batch([entry(1, returncode=1 << 70), entry(2, returncode=-9)], fresh=True, whole=True))
    rows = store.page(Filter(), Paging(sort="created"))[1]
    assert {row["uuid"]: row["returncode"] for row in rows} == {uuid_of(1): None, uuid_of(2): -9}


def test_readers_read_while_it_is_written(filled: Store) -> None:
    """Threads that read during writes see whole states and no errors."""
    errors: list[Exception] = []
    over = threading.Event()

    def read() -> None:
        try:
            while not over.is_set():
                count, rows = filled.page(Filter(), Paging(size=1000))
                assert count >= 6
                assert rows
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(10, 400):
        filled.apply(Batch([entry(number)], whole=True))
    over.set()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert filled.page(Filter(), Paging())[0] == 396


def test_many_readers_at_once_leave_few_connections(filled: Store) -> None:
    """Each has a cache: what a crowd needed for a moment is given back."""
    count = 12
    at_once = threading.Barrier(count)
    slow = queries.Statement(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT max(i) AS i FROM n",
        {},
    )
    found: list[object] = []

    def read() -> None:
        at_once.wait(30)
        found.extend(filled.rows(slow))

    threads = [threading.Thread(target=read) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [{"i": 300_000}] * count
    assert len(filled._idle) <= IDLE
    assert numbers(filled, Filter(user="bob")) == [0]


def test_the_file_goes_with_the_process_and_is_private(tmp_path) -> None:
    """Other accounts can't look into it, and nothing is left of it."""
    store = Store(tmp_path)
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_a_group_is_its_owners_and_of_one_name_the_newest_counts(store: Store) -> None:
    """Two users may have groups of one name; what was submitted again takes the place of what has its name."""
    after = {"count": 3, "parents": [{"uuid": uuid_of(1), "on": "any"}]}
    items: list[Item] = [
        entry(0, group="nightly", name="build", outcome="failed", finished=NOW),
        entry(1, group="nightly", name="build", outcome="success", started=NOW, finished=NOW + 1),
        entry(2, group="nightly", name="test", status="queued", after=after),
        entry(3, group="nightly", status="queued"),
        entry(4, group="nightly", name="build", user="bob", status="queued"),
        entry(5),
    ]
    store.apply(Batch(items, fresh=True, whole=True))
    wanted = Filter(group="nightly", user="ann")
    _, rows = store.page(wanted, Paging(descending=False))
    assert [row["uuid"] for row in rows] == [uuid_of(1), uuid_of(2), uuid_of(3)]
    assert rows[1]["after"] == f'[3, [["{uuid_of(1)}", "any"]]]'
    assert [row["uuid"] for row in store.rows(queries.members("nightly", "ann", 2))] == [
        uuid_of(1),
        uuid_of(2),
    ]
    told = {row["user"]: (row["n"], row["success"], row["queued"]) for row in store.rows(queries.bundles(9))}
    assert told == {"ann": (3, 1, 2), "bob": (1, 0, 1)}

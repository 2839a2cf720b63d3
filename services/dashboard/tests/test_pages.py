"""The pages, drawn by Streamlit without a browser, from a store without a bus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import qme_dashboard
from qme.client.executors import Known
from qme.client.mirroring import Batch
from qme.contracts.executors import Definition
from qme.settings import Settings
from qme_dashboard import process
from qme_dashboard.hub import Hub
from qme_dashboard.queries import Filter, Paging
from qme_dashboard.ui.table import key_of
from qme_dashboard.ui.tasks import SIZE

from .tasks import NOW, entry, uuid_of

MAIN = Path(qme_dashboard.__file__).parent / "ui" / "main.py"
#: what a task could be named to make a page load something
HOSTILE = "![x](http://evil.example/a.png) <img src=http://evil.example/b.png> [a](http://evil.example) :material/home:"
#: key of the page's table without filters
TABLE = key_of("tasks", Filter(), Paging(size=SIZE))
#: seconds until a run of a page counts as stuck
PATIENCE = 150.0

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub that never connects, as this process's."""
    made = Hub(Settings(home=tmp_path, nats_url="nats://127.0.0.1:1"))
    process.begin(made, may_act=True, named=False)
    yield made
    made.store.close()


def app(path: str = "", **query: str) -> AppTest:
    """The application at a page, not run yet."""
    from streamlit.util import calc_hash

    made = AppTest.from_file(MAIN, default_timeout=PATIENCE)
    if path:
        made._page_hash = calc_hash(path)
    for name, value in query.items():
        made.query_params[name] = value
    return made


def fill(hub: Hub, *items: Any) -> None:
    """Put tasks into the store as all there is."""
    hub.store.apply(Batch(list(items), fresh=True, whole=True))


def marked_up(at: AppTest) -> list[str]:
    """Everything on the page that is read as Markdown."""
    kinds = (
        "markdown",
        "caption",
        "title",
        "subheader",
        "error",
        "warning",
        "info",
        "success",
        "button",
        "metric",
    )
    return [
        str(getattr(one, "label", "") or getattr(one, "value", "")) for kind in kinds for one in at.get(kind)
    ]


def test_before_anything_is_known_it_says_so(hub: Hub) -> None:
    """A page that has not read the tasks shows no zeros."""
    at = app().run()
    assert not at.exception
    assert "Reading the tasks" in at.info[0].value
    assert not at.metric


def test_a_long_reading_says_how_far_it_is(hub: Hub) -> None:
    """Of many tasks it shows how many have been read."""
    hub.read, hub.expected = 12_500, 100_000
    at = app().run()
    assert not at.exception
    assert "12,500 of 100,000" in at.info[0].value


def test_an_empty_bus_says_what_to_do(hub: Hub) -> None:
    """Without tasks and workers there is a command for each."""
    fill(hub)
    at = app().run()
    assert not at.exception
    assert [code.value for code in at.code] == ["qme run echo hello moto", "qme worker shell"]


def test_the_overview_counts(hub: Hub) -> None:
    """Tiles show the numbers of the store, and the failures' last words stand in a table."""
    fill(
        hub,
        entry(1, status="queued"),
        entry(2, outcome="failed", finished=NOW, error=["no such file\n"]),
        entry(3, outcome="timeout", finished=NOW),
    )
    at = app().run()
    assert not at.exception
    tiles = {tile.label: tile.value for tile in at.metric[:6]}
    assert tiles == {
        "queued": "1",
        "running": "0",
        "success": "0",
        "failure": "2",
        "cancelled": "0",
        "lost": "0",
    }
    (failures,) = [table.value for table in at.dataframe if "last line of stderr" in table.value]
    assert list(failures["last line of stderr"]) == ["", "no such file"]


def test_filters_come_from_the_address(hub: Hub) -> None:
    """A link with filters shows those tasks."""
    fill(hub, entry(1, status="queued"), entry(2, outcome="failed", finished=NOW, command="train x"))
    at = app("tasks", state="failure", q="TRAIN").run()
    assert not at.exception
    (table,) = at.dataframe
    assert list(table.value["command"]) == ["train x"]
    assert at.multiselect(key="state").value == ["failure"]


def test_labels_and_mine_narrow_the_table(hub: Hub) -> None:
    """Both come from the address, too."""
    items = [
        entry(1, user=hub.user, labels={"run": "7"}),
        entry(2, user="bob", labels={"run": "7"}),
        entry(3),
    ]
    fill(hub, *items)
    labelled, mine = app("tasks", label="run=7").run(), app("tasks", label="run=7", mine="true").run()
    assert not labelled.exception
    assert list(labelled.dataframe[0].value["user"]) == ["bob", hub.user]
    assert list(mine.dataframe[0].value["user"]) == [hub.user]


def test_a_bad_search_is_said(hub: Hub) -> None:
    """An expression that is none gives the reason and no table."""
    fill(hub, entry(1))
    at = app("tasks", q="([").run()
    assert not at.exception
    assert "is not a regular expression" in at.error[0].value.replace("\\", "")
    assert not at.dataframe


def test_what_is_selected_stays_selected_while_tasks_arrive(hub: Hub) -> None:
    """A row is ticked, new tasks come in on top: the row, and what would be changed, is still the same task."""
    fill(
        hub,
        entry(1, status="queued", created=NOW),
        entry(2, outcome="failed", created=NOW + 1, finished=NOW + 2),
    )
    at = app("tasks").run()
    at.session_state[TABLE] = {"selection": {"rows": [1], "columns": [], "cells": []}}
    hub.store.apply(Batch([entry(number, created=NOW + number) for number in (3, 4)], whole=True))
    at.run()
    assert not at.exception
    assert list(at.dataframe[0].value["id"]) == [uuid_of(2)[-8:], uuid_of(1)[-8:]]
    (cancel,) = [button for button in at.button if button.label == "Cancel"]
    cancel.click().run()
    assert not at.exception
    asked = [table.value for table in at.dataframe if "task" in table.value]
    assert [list(table["task"]) for table in asked] == [[f"shell-{uuid_of(1)}"]]


def test_read_only_offers_nothing(hub: Hub) -> None:
    """Where nothing may be changed the buttons are off, and it says why."""
    process.begin(hub, may_act=False, named=False)
    fill(hub, entry(1, status="queued"))
    at = app("tasks").run()
    at.session_state[TABLE] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    at.run()
    verbs = {button.label: button.disabled for button in at.button}
    assert verbs == {"Rerun": True, "Cancel": True, "Delete": True}
    assert any("only shows" in text for text in marked_up(at))


@pytest.mark.parametrize(
    ("path", "query"),
    [("", {}), ("tasks", {}), ("shell", {}), ("groups", {}), ("groups", {"name": HOSTILE, "user": HOSTILE})],
)
def test_text_from_tasks_is_never_read_as_markdown(hub: Hub, path: str, query: dict[str, str]) -> None:
    """Wherever a task's words appear, nothing reads them as a link, an image or a sign."""
    fill(
        hub,
        entry(
            1,
            status="queued",
            group=HOSTILE,
            name=HOSTILE,
            command=HOSTILE,
            user=HOSTILE,
            message=HOSTILE,
            labels={HOSTILE: HOSTILE},
        ),
        entry(
            2,
            group=HOSTILE,
            outcome="failed",
            finished=NOW,
            command=HOSTILE,
            error=[HOSTILE],
            reason=HOSTILE,
            user=HOSTILE,
        ),
    )
    at = app(path, **query).run()
    assert not at.exception
    assert any(HOSTILE in str(table.value.to_dict()) for table in at.dataframe)
    assert not [text for text in marked_up(at) if "evil.example" in text]  # with its dot unescaped


def test_a_group_that_is_not_there_leads_to_those_there_are(hub: Hub) -> None:
    """Without any, it says how to make one."""
    fill(hub)
    at = app("groups", name="nightly", user="ann").run()
    assert not at.exception
    assert at.info[0].value == "ann has no group of this name."
    assert "qme submit --group" in app("groups").run().code[0].value


def test_text_from_workers_is_never_read_as_markdown(hub: Hub) -> None:
    """The account that a worker names stands on its executor's page as text."""
    fill(hub)
    advert = Definition(
        executor="loud", pool="u-ann", matchstring="^loud", account=HOSTILE, updated=entry(1).value.created
    )
    hub.executors = [Known(advert)]
    at = app("loud").run()
    assert not at.exception
    assert [text for text in marked_up(at) if "evil" in text]
    assert not [text for text in marked_up(at) if "evil.example" in text]


def test_an_executor_seen_in_tasks_only_has_a_page(hub: Hub) -> None:
    """Its workers may be gone; its tasks are not."""
    fill(hub, entry(1, executor="pbs", outcome="success", finished=NOW))
    at = app("pbs").run()
    assert not at.exception
    assert at.title[0].value == "pbs"
    assert "qme worker pbs" in [code.value for code in at.code]


def test_an_odd_name_of_an_executor_takes_no_page_away(hub: Hub) -> None:
    """A record that names an executor which can't be one is in the table, and all pages stand."""
    for number, name in enumerate(("a/b", "![x](http://evil)", "Sh ell")):
        item = entry(number, outcome="failed", finished=NOW)
        record = item.value.model_copy(update={"executor": name})
        hub.store.apply(
            Batch([replace(item, value=record, key=str(record.key))], fresh=not number, whole=True)
        )
    at = app().run()
    assert not at.exception
    assert {tile.label: tile.value for tile in at.metric[:6]}["failure"] == "3"
    assert at.session_state["executors"] == []


def test_a_task_that_can_not_be_read_leaves_the_page_whole(hub: Hub) -> None:
    """Without a bus the page of a task says what is wrong, and leads back."""
    fill(hub, entry(1))
    at = app("shell", task=f"shell-{uuid_of(1)}").run()
    assert not at.exception
    assert "has not been started" in at.error[0].value

"""What several pages draw, and how they get at the process's hub. No page here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import streamlit as st

import qme
from qme.contracts import subjects
from qme.contracts.executors import ActionInfo
from qme.errors import InvalidRequest
from qme_dashboard import deeds, process
from qme_dashboard.deeds import READ_ONLY, Done, Person
from qme_dashboard.figures import STACK
from qme_dashboard.guard import PERSON
from qme_dashboard.hub import Hub
from qme_dashboard.words import count, plain

#: seconds between two looks of a page that is live
EVERY = 2.0

COLOURS: dict[str, Any] = {
    "queued": "blue",
    "running": "yellow",
    "success": "green",
    "failure": "red",
    "cancelled": "gray",
    "lost": "violet",
    "unreadable": "orange",
}
#: the same in drawings, on light and on dark
INKS = {
    "queued": "#6f8df5",
    "running": "#e0a91b",
    "success": STACK["success"],
    "failure": STACK["failure"],
    "cancelled": STACK["cancelled"],
    "lost": STACK["lost"],
    "unreadable": "#e8792b",
}
MARKS = {
    "queued": "◌",
    "running": "▶",
    "success": "✓",
    "failure": "✗",
    "cancelled": "⊘",
    "lost": "?",
    "unreadable": "!",
}


def hub() -> Hub:
    """Give the process's hub."""
    return process.current().hub


def person() -> Person:
    """Give who looks at this page."""
    return process.current().person(unquote(st.context.headers.get(PERSON, "")))


def every() -> float | None:
    """Give how often a live part of a page looks again; None: only when somebody does something."""
    return EVERY if st.session_state.get("live", True) else None


def executor_names() -> list[str]:
    """List all executors that are known, or that tasks went to."""
    at = hub()
    known = {one.definition.executor for one in at.executors}
    return sorted(filter(_is_name, known | set(at.store.choices("executor") if at.store.loaded else ())))


def _is_name(text: str) -> bool:
    # A record can say anything, and a page that can't have its address would take all others with it.
    try:
        return bool(subjects.executor_name(text))
    except InvalidRequest:
        return False


def notice_executors() -> None:
    """Draw the whole page anew when there are other executors than its side bar shows."""
    if st.session_state.get("executors", []) != executor_names():
        st.rerun()


def banner() -> None:
    """Say when what is shown may be old."""

    @st.fragment(run_every=every())
    def look() -> None:
        trouble = hub().trouble
        if not hub().store.loaded:
            _reading(trouble)
        elif trouble:
            st.warning(f"This may be old: {plain(trouble)}", icon=":material/cloud_off:")

    look()


def _reading(trouble: str | None) -> None:
    read, expected = hub().read, hub().expected
    so_far = f"{min(read, expected):,} of {expected:,} " if expected else ""
    st.info(f"Reading the tasks… {so_far}{plain(trouble or '')}".strip(), icon=":material/hourglass_top:")
    if so_far:
        st.progress(min(read / expected, 1.0))


def about() -> None:
    """Say who looks at what, and whether anything can be changed."""
    who = person()
    name = who.name or hub().user
    st.caption(f"{plain(name)} · qme {qme.__version__}" + ("" if who.may_act else " · read-only"))


def stash(done: Sequence[Done]) -> None:
    """Keep what became of tasks until the page is drawn anew."""
    st.session_state["report"] = list(done)
    st.session_state["changes"] = st.session_state.get("changes", 0) + 1


def after_changes() -> str:
    """Give an end for keys of what a change shall reset: a second click must not repeat it on what is still ticked."""
    changes = st.session_state.get("changes", 0)
    return f"-{changes}" if changes else ""


def report() -> None:
    """Show what became of the tasks that somebody changed last."""
    done: list[Done] | None = st.session_state.get("report")
    if not done:
        return
    failed = [one for one in done if not one.ok]
    with st.container(border=True, key="report"):
        if failed:
            st.error(
                f"{count(len(failed), 'task')} of {len(done)} could not be changed", icon=":material/error:"
            )
        else:
            st.success(f"{count(len(done), 'task')} changed", icon=":material/check:")
        rows = [{"": "✓" if one.ok else "✗", "task": one.uid, "result": one.said} for one in done]
        st.dataframe(rows, hide_index=True, height="content" if len(rows) < 8 else 300)
        st.button("Dismiss", key="dismiss", on_click=_dismiss)


def _dismiss() -> None:
    st.session_state.pop("report", None)


def state_of(row: dict[str, Any]) -> str:
    """Give how a task stands, with a mark that can be told apart without colours."""
    return f"{MARKS.get(row['grp'], '')} {row['outcome'] or row['status']}".strip()


def colour_of(word: object) -> Any:
    """Give the colour of an outcome or a status; bad ends that have none of their own are failures."""
    if word is None:
        return "yellow"
    return COLOURS.get(str(word), "red")


def barred(action: ActionInfo) -> str | None:
    """Say why whoever looks can't run an action here; None: they can try."""
    return deeds.barred(person(), hub().user, action)


def read_only_note() -> None:
    """Say why nothing can be changed here."""
    st.caption(plain(READ_ONLY.capitalize()) + ".")


def remember_filters() -> None:
    """Keep what the address of the page of tasks says, for the way back to it."""
    st.session_state["filters"] = {name: st.query_params.get_all(name) for name in st.query_params}


def back_link() -> None:
    """Draw a link to the tasks that somebody came from, filters and all."""
    filters = st.session_state.get("filters")
    if filters is not None:
        pages = st.session_state["pages"]
        st.page_link(
            pages["tasks"], label="Back to these tasks", icon=":material/arrow_back:", query_params=filters
        )


def open_task(executor: str, uid: str) -> None:
    """Go to a task's page."""
    page = st.session_state["pages"].get(f"executor {executor}")
    if page is None:
        st.error(f"There is no page for the executor {plain(executor)}", icon=":material/error:")
        return
    st.switch_page(page, query_params={"task": uid})

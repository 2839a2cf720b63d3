"""The script that Streamlit runs for every look: which pages there are, and what all of them have in common."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from qme_dashboard.ui import executor, groups, overview, parts, tasks, workers
from qme_dashboard.ui.pages import ASSETS
from qme_dashboard.words import path_of

#: pixels of the side bar
SIDEBAR = 210
#: Streamlit leaves a sixth of a wide page empty on either side, and has no setting for it, nor for these
_ROOM = (
    "[data-testid=stMainBlockContainer]{padding-left:clamp(1rem,2.5vw,3rem);padding-right:clamp(1rem,2.5vw,3rem)}"
    # On a phone what a task wrote stands before the facts about it.
    "@media (max-width:640px){.st-key-task-parts [data-testid=stColumn]:last-child{order:-1}}"
    "[class*=st-key-tile-]{padding:.5rem .6rem}"
    "[class*=st-key-tile-] [data-testid=stPageLink-NavLink]{padding:0;margin:0}"
)


def main() -> None:
    """Draw the page that the address names."""
    st.set_page_config(
        page_title="qme", page_icon=str(ASSETS / "icon.png"), layout="wide", initial_sidebar_state=SIDEBAR
    )
    st.html(f"<style>{_ROOM}</style>")
    st.logo(str(ASSETS / "logo.svg"), icon_image=str(ASSETS / "icon.png"), size="large")
    names = parts.executor_names()
    pages = {
        "overview": st.Page(
            overview.page,
            title="Overview",
            icon=":material/space_dashboard:",
            default=True,
            url_path="overview",
        ),
        "tasks": st.Page(tasks.page, title="Tasks", icon=":material/list_alt:", url_path="tasks"),
        "groups": st.Page(groups.page, title="Groups", icon=":material/account_tree:", url_path="groups"),
        "workers": st.Page(workers.page, title="Workers", icon=":material/memory:", url_path="workers"),
    }
    own = {name: _page(name) for name in names}
    st.session_state["pages"] = {**pages, **{f"executor {name}": page for name, page in own.items()}}
    st.session_state["executors"] = names
    chosen = st.navigation({"": [*pages.values()], "Executors": [*own.values()]}, expanded=True)
    with st.sidebar:
        st.toggle("Live", value=True, key="live", help="Look again every few seconds")
        parts.about()
    parts.banner()
    parts.report()
    chosen.run()


def _page(name: str) -> st.Page:
    def draw() -> None:
        executor.page(name)

    draw.__name__ = f"executor_{name}"
    drawn: Callable[[], None] = draw
    icons = {"shell": ":material/terminal:", "slurm": ":material/dns:"}
    return st.Page(drawn, title=name, icon=icons.get(name, ":material/extension:"), url_path=path_of(name))


main()

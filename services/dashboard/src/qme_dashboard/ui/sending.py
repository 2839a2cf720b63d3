"""Nothing that was drawn is lost on its way to a browser. Mends one habit of Streamlit's; draws nothing itself.

What a page draws waits in a queue until the event loop sends it. When a part of the page is drawn again before that,
Streamlit takes from the queue what this part drew before, the containers that it stands in too, but leaves the word
that the page is complete. So the browser removes the part, its neighbours move up, and the next thing drawn has
no place any more: "Bad delta path index", and a blank page. It takes a machine that is late, and a page that looks
again by itself. Kept, the older drawing is sent before the newer one, as where the loop is in time.
"""

from __future__ import annotations

from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

_clear = ForwardMsgQueue.clear


def keep_all() -> None:
    """From now on leave in the queue what parts of pages drew; a page that is drawn anew as a whole replaces all."""

    def clear(
        self: ForwardMsgQueue,
        retain_lifecycle_msgs: bool = False,
        fragment_ids_this_run: list[str] | None = None,
    ) -> None:
        # With no part named, nothing is a part's that is drawn again.
        _clear(self, retain_lifecycle_msgs, None if fragment_ids_this_run is None else [])

    ForwardMsgQueue.clear = clear  # type: ignore[method-assign]

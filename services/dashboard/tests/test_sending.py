"""What a page drew and has not been sent yet."""

from __future__ import annotations

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

from qme_dashboard.ui import sending


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> ForwardMsgQueue:
    """A queue of a session, as pages have it."""
    monkeypatch.setattr(ForwardMsgQueue, "clear", ForwardMsgQueue.clear)
    sending.keep_all()
    return ForwardMsgQueue()


def container(place: int, part: str = "") -> ForwardMsg:
    """A container in the middle of the page, drawn by a part of it."""
    made = ForwardMsg()
    made.delta.add_block.SetInParent()
    made.delta.fragment_id = part
    made.metadata.delta_path[:] = [0, place]
    return made


def drawn(queue: ForwardMsgQueue) -> list[int]:
    """Send all there is, and give the places that were drawn."""
    return [msg.metadata.delta_path[1] for msg in queue.flush() if msg.HasField("delta")]


def test_a_part_drawn_anew_leaves_what_waits_to_be_sent(queue: ForwardMsgQueue) -> None:
    """Where a whole page still waits, no container is missing once one of its parts has been drawn again."""
    for place, part in enumerate(("banner", "", "", "", "table")):
        queue.enqueue(container(place, part))
    done = ForwardMsg()
    done.script_finished = ForwardMsg.FINISHED_SUCCESSFULLY
    queue.enqueue(done)
    queue.clear(retain_lifecycle_msgs=True, fragment_ids_this_run=["banner", "table"])
    queue.enqueue(container(4, "table"))
    assert drawn(queue) == [0, 1, 2, 3, 4, 4]


def test_a_page_drawn_anew_replaces_what_waits_to_be_sent(queue: ForwardMsgQueue) -> None:
    """Of a page that is drawn again as a whole nothing old is sent."""
    queue.enqueue(container(0))
    queue.clear(retain_lifecycle_msgs=True)
    assert drawn(queue) == []

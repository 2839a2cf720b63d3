"""Reads streams without consumers: single messages, pages of messages, sizes and lists of subjects."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from nats.aio.msg import Msg

from qme.bus.jetstream_calls import MESSAGE_NOT_FOUND, STREAM_NOT_FOUND, Api, ApiError
from qme.bus.jetstream_parts import Unanswered
from qme.bus.port import Message, StreamState
from qme.errors import BusUnavailable, InvalidRequest, NotFound, NotPermitted

ID = "Nats-Msg-Id"
#: set by the server on a marker that it left for an expired or purged key; the port's readers look at it
MARKER = "Nats-Marker-Reason"
#: one page of `read`; of a server that can't answer in time less is asked, down to so many messages
PAGE_MESSAGES, LEAST_MESSAGES = 2000, 25
PAGE_BYTES = 4 * 1024 * 1024


class Reader:
    """Reads what streams hold."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._page = PAGE_MESSAGES

    async def last(self, stream: str, subject: str, *, leader: bool) -> Message | None:
        """Read the last message whose subject matches; see the port."""
        if leader:
            stored = await self.leader(stream, subject)
            return stored and stored[0]
        # The subject stands in the request's own, so that rights can be given by key.
        answer, _ = await self._direct(stream, f".{subject}", None)
        return None if answer is None else stored_message(answer)

    async def leader(self, stream: str, subject: str) -> tuple[Message, Mapping[str, str]] | None:
        """Read the last message that matches from the stream's leader, also with all of its raw headers."""
        try:
            answer = await self._api.call(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
        except ApiError as error:
            if error.number == MESSAGE_NOT_FOUND:
                return None
            raise error.as_qme() from error
        found = answer["message"]
        raw = _raw_headers(base64.b64decode(found.get("hdrs", "")))
        message = Message(
            found["subject"],
            base64.b64decode(found.get("data", "")),
            own_headers(raw),
            found["seq"],
            datetime.fromisoformat(found["time"]),
        )
        return message, raw

    async def read(self, stream: str, subject: str, start: int) -> AsyncIterator[Message]:
        """Read what is stored, page by page; see the port."""
        at = max(1, start)
        while True:
            question = {
                "seq": at,
                "next_by_subj": subject,
                "max_bytes": PAGE_BYTES,
            }
            end, page = await self._direct(stream, "", question)
            for part in page:
                message = stored_message(part)
                at = message.seq + 1
                yield message
            if end is None or (end.headers or {}).get("Nats-Num-Pending", "0") == "0":
                return

    async def state(self, stream: str) -> StreamState:
        """Tell a stream's size and limits."""
        info = await self._info(stream, None)
        state, config = info["state"], info["config"]
        limits = (config.get(key, -1) for key in ("max_bytes", "max_msgs"))
        return StreamState(
            state["first_seq"],
            state["last_seq"],
            state["messages"],
            state["bytes"],
            *(limit if limit > 0 else None for limit in limits),
        )

    async def subjects(self, stream: str, pattern: str) -> Mapping[str, int]:
        """List the stored subjects that match."""
        found: dict[str, int] = {}
        seen = 0
        while True:
            info = await self._info(stream, {"subjects_filter": pattern, "offset": seen})
            page = info["state"].get("subjects") or {}
            found.update(page)
            seen += len(page)
            if not page or seen >= info.get("total", 0):
                return found

    async def purge(self, stream: str, subject: str) -> None:
        """Remove all messages of matching subjects."""
        try:
            await self._api.call(f"STREAM.PURGE.{stream}", {"filter": subject})
        except ApiError as error:
            raise error.as_qme() from error

    async def _info(self, stream: str, question: object) -> dict[str, Any]:
        try:
            return await self._api.call(f"STREAM.INFO.{stream}", question)
        except ApiError as error:
            raise error.as_qme() from error

    async def _direct(
        self, stream: str, suffix: str, question: Mapping[str, object] | None
    ) -> tuple[Msg | None, list[Msg]]:
        """Ask any replica; gives the closing message (None: nothing matches) and what came before it."""
        patience = self._api.patience()
        while True:
            page: list[Msg] | None = None if question is None else []
            data = b"" if question is None else json.dumps({**question, "batch": self._page}).encode()
            try:
                answer = await self._api.link.ask(
                    f"$JS.API.DIRECT.GET.{stream}{suffix}", data, timeout=patience.one_try, parts=page
                )
                status = "" if is_stored(answer) else (answer.headers or {}).get("Status", "503")
                if status == "404":
                    return None, []
                if status in ("", "204") and _whole(page or [], answer):
                    self._page = min(self._page * 2, PAGE_MESSAGES)
                    return answer, page or []
                if status not in ("", "204", "503"):
                    raise InvalidRequest(f"the bus can't read {suffix or question} of {stream}: {status}")
                if status == "503":
                    await self._exists(stream)
                why: object = f"no replica of {stream} answers"
            except Unanswered as error:
                why = error
                if page is not None:
                    # The same page once more would be as slow, and the server still works on this one.
                    self._page = max(self._page // 4, LEAST_MESSAGES)
            await patience.rest(why)

    async def _exists(self, stream: str) -> None:
        """Raise NotFound when the stream does not exist; the rest stays open."""
        try:
            await self._api.call(f"STREAM.INFO.{stream}")
        except ApiError as error:
            if error.number == STREAM_NOT_FOUND:
                raise NotFound(f"there is no stream {stream}; is a submitter running on this bus?") from error
        except (NotPermitted, BusUnavailable):
            return


def is_stored(message: Msg) -> bool:
    """Tell a message out of a stream from a status."""
    return "Nats-Sequence" in (message.headers or {})


def stored_message(message: Msg) -> Message:
    """Read a message that says where it is stored in its headers."""
    headers = message.headers or {}
    return Message(
        headers["Nats-Subject"],
        message.data,
        own_headers(headers),
        int(headers["Nats-Sequence"]),
        datetime.fromisoformat(headers["Nats-Time-Stamp"]),
    )


def own_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Leave out what the server and this adapter have added."""
    return {key: value for key, value in headers.items() if not key.startswith("Nats-") or key == MARKER}


def _whole(page: list[Msg], end: Msg) -> bool:
    """Tell whether nothing of a page was lost on its way: each message names the one before it."""
    links = [(part.headers or {}) for part in page]
    before = ["0", *(link["Nats-Sequence"] for link in links)]
    named = [link.get("Nats-Last-Sequence") for link in links]
    if page:
        named.append((end.headers or {}).get("Nats-Last-Sequence"))
        return named == before
    return True


def _raw_headers(block: bytes) -> dict[str, str]:
    lines = block.decode("utf-8", "replace").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {key.strip(): value.strip() for key, _, value in pairs}

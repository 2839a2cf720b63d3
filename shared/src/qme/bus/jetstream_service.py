"""Lets the usual NATS tools discover qme's services (`nats micro ls`): the micro protocol, ADR-32."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from types import TracebackType
from typing import Any

from nats.aio.msg import Msg

from qme.bus.jetstream_link import Link
from qme.bus.jetstream_parts import Subscription, Unanswered
from qme.errors import QmeError


@dataclass(slots=True)
class _Endpoint:
    subject: str
    requests: int = 0
    nanoseconds: int = 0

    def describe(self, queue: str) -> dict[str, Any]:
        name = self.subject.rpartition(".")[2].strip("*>") or "any"
        return {"name": name, "subject": self.subject, "queue_group": queue, "metadata": {}}

    def stats(self, queue: str) -> dict[str, Any]:
        return {
            **self.describe(queue),
            "num_requests": self.requests,
            "num_errors": 0,
            "last_error": "",
            "processing_time": self.nanoseconds,
            "average_processing_time": self.nanoseconds // max(1, self.requests),
        }


class Discovery:
    """Answers who serves and how much, while the context lasts."""

    def __init__(self, link: Link, name: str, version: str, subjects: tuple[str, ...]) -> None:
        self._link = link
        self._name = name
        self._me = {"name": name, "id": token_hex(11), "version": version, "metadata": {}}
        self._started = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        self._endpoints = {subject: _Endpoint(subject) for subject in subjects}
        self._subscriptions: list[Subscription] = []

    def count(self, subject: str, task: asyncio.Task[None]) -> None:
        """Count a request that `task` works on."""
        endpoint = self._endpoints[subject]
        begun = time.perf_counter_ns()
        endpoint.requests += 1

        def done(_: asyncio.Task[None]) -> None:
            endpoint.nanoseconds += time.perf_counter_ns() - begun

        task.add_done_callback(done)

    async def __aenter__(self) -> Discovery:
        for scope in ("", f".{self._name}", f".{self._name}.{self._me['id']}"):
            subscription = await self._link.subscribe(f"$SRV.*{scope}", self._asked, problem=_ignore)
            self._subscriptions.append(subscription)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for subscription in self._subscriptions:
            await self._link.unsubscribe(subscription)

    async def _asked(self, message: Msg) -> None:
        verb = message.subject.split(".")[1]
        answer: dict[str, Any] = {**self._me, "type": f"io.nats.micro.v1.{verb.lower()}_response"}
        endpoints = self._endpoints.values()
        if verb == "INFO":
            answer["description"] = ""
            answer["endpoints"] = [endpoint.describe(self._name) for endpoint in endpoints]
        elif verb == "STATS":
            answer["started"] = self._started
            answer["endpoints"] = [endpoint.stats(self._name) for endpoint in endpoints]
        elif verb != "PING":
            return
        # Whoever asks says where the answer goes: only ever into an inbox, never into a stream or a service.
        if message.reply.startswith("_INBOX"):
            try:
                await self._link.publish(message.reply, json.dumps(answer).encode())
            except (Unanswered, QmeError):
                return


def _ignore(_: QmeError | None) -> None:
    """Do without: a service that may not answer discovery serves all the same."""

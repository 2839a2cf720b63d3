"""Requests to submitters: repeated until answered, and their errors raised here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest
from tests.unit.client.scene import USER, Scene

from qme.bus.memory import MemoryBus
from qme.bus.port import Request
from qme.client import Options
from qme.contracts.messages import MatchReply, Result, Results, SubmitRequest, Target
from qme.contracts.subjects import api_subject, keyed_uuid
from qme.errors import BusUnavailable, NoExecutorMatches, NotFound, NotPermitted, QmeError, to_wire

Answer = Callable[[Request], bytes]


class Office:
    """Answers requests as told, and keeps them."""

    def __init__(self, *answers: Answer) -> None:
        self.seen: list[Request] = []
        self._answers = list(answers)

    async def __call__(self, request: Request) -> bytes:
        """Give the next answer; the last one for ever."""
        self.seen.append(request)
        return (self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])(request)


def accept(request: Request) -> bytes:
    """Accept every task."""
    tasks = SubmitRequest.model_validate_json(request.data).tasks
    return (
        Results(results=tuple(Result(uuid=t.uuid, taskid=f"shell-{t.uuid}") for t in tasks))
        .model_dump_json()
        .encode()
    )


def saying(answer: bytes) -> Answer:
    """Answer always the same."""
    return lambda _: answer


async def test_a_submission_carries_what_the_protocol_asks_for(stage: Scene) -> None:
    """An id, an expiry, the uuid of the task; under the user's own subject."""
    office = Office(accept)
    async with stage.bus.serve("office", {api_subject("*", "submit"): office}):
        result = await stage.client.submit("echo a | wc", Options(message="note"))
    (request,) = [SubmitRequest.model_validate_json(seen.data) for seen in office.seen]
    assert office.seen[0].subject == api_subject(USER, "submit")
    assert request.id
    assert 0 < (request.expires - datetime.now(UTC)).total_seconds() <= stage.settings.request_timeout
    assert (request.tasks[0].shell, request.tasks[0].message) == (True, "note")
    assert result.uuid == request.tasks[0].uuid


async def test_an_unanswered_request_is_repeated_as_it_was(stage: Scene) -> None:
    """The same bytes: the same task."""
    never = asyncio.Event()

    async def first_silent(request: Request) -> bytes:
        seen.append(request.data)
        if len(seen) == 1:
            await never.wait()
        return accept(request)

    seen: list[bytes] = []
    async with stage.bus.serve("office", {api_subject("*", "submit"): first_silent}):
        await stage.client.submit("true")
        never.set()
    assert len(seen) == 2
    assert seen[0] == seen[1]


async def test_a_submitter_that_is_just_coming_up_is_waited_for(stage: Scene) -> None:
    """Nobody there is no error at once."""
    submitting = asyncio.create_task(stage.client.submit("true"))
    await asyncio.sleep(0.15)
    async with stage.bus.serve("office", {api_subject("*", "submit"): Office(accept)}):
        assert (await submitting).uuid


async def test_a_submitter_is_waited_for_after_an_answer_was(
    stage: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was lost with one that the bus believed in takes nothing from the time that another has to come up."""
    never = asyncio.Event()
    ask = MemoryBus.request
    missed: list[type[QmeError]] = []

    async def silent(request: Request) -> bytes:
        await never.wait()
        return accept(request)

    async with AsyncExitStack() as serving:

        async def request(
            bus: MemoryBus,
            subject: str,
            data: bytes,
            *,
            timeout: float,
            headers: Mapping[str, str] | None = None,
        ) -> bytes:
            try:
                return await ask(bus, subject, data, timeout=timeout, headers=headers)
            except BusUnavailable:  # it is gone, and now that is known
                missed.append(BusUnavailable)
                never.set()
                await serving.aclose()
                raise
            except NotFound:
                missed.append(NotFound)
                office = {api_subject("*", "submit"): Office(accept)}
                await serving.enter_async_context(stage.bus.serve("office", office))
                raise

        await serving.enter_async_context(stage.bus.serve("office", {api_subject("*", "submit"): silent}))
        monkeypatch.setattr(MemoryBus, "request", request)
        assert (await stage.client.submit("true")).uuid
    assert missed == [BusUnavailable, NotFound]


async def test_nobody_there_is_said_after_a_while(stage: Scene) -> None:
    """With what to do about it, as a bus that can't be reached (5)."""
    with pytest.raises(BusUnavailable, match="no submitter") as caught:
        await stage.client.submit("true")
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    "error", [NoExecutorMatches("nobody takes it"), NotPermitted("bob's"), QmeError("?")]
)
async def test_a_refusal_is_raised_as_what_it_is(stage: Scene, error: QmeError) -> None:
    """Of the whole request, or of the one task in it."""
    whole = Office(lambda _: json.dumps(to_wire(error)).encode())
    one = Office(
        lambda r: (
            Results(results=(Result(uuid="u", error=to_wire(error)["error"]),)).model_dump_json().encode()
        )
    )
    for office in (whole, one):
        async with stage.bus.serve("office", {api_subject("*", "submit"): office}):
            with pytest.raises(type(error), match=error.message.replace("?", r"\?")):
                await stage.client.submit("true")


async def test_an_answer_that_makes_no_sense_is_an_error(stage: Scene) -> None:
    """And no traceback."""
    for answer in (b"", b"{}", b"nonsense"):
        async with stage.bus.serve("office", {api_subject("*", "submit"): Office(saying(answer))}):
            with pytest.raises(QmeError, match="can't be read"):
                await stage.client.submit("true")


async def test_a_key_gives_the_same_task_for_the_same_user(stage: Scene) -> None:
    """Its uuid is made from the authenticated name and the key."""
    office = Office(accept)
    async with stage.bus.serve("office", {api_subject("*", "submit"): office}):
        first = await stage.client.submit("true", Options(key="nightly"))
        again = await stage.client.submit("true", Options(key="nightly"))
    assert first.uuid == again.uuid == keyed_uuid(USER, "nightly")


async def test_operators_ask_on_their_own_subject(stage: Scene) -> None:
    """Never by accident: only where it is said."""
    office = Office(lambda _: Results(results=()).model_dump_json().encode())
    target = [Target(uuid="u", attempt=1)]
    handlers = {
        api_subject("*", verb, admin=admin): office
        for verb in ("cancel", "approve")
        for admin in (True, False)
    }
    async with stage.bus.serve("office", handlers):
        await stage.client.control.cancel(target)
        await stage.client.control.cancel(target, admin=True)
        await stage.client.approve("slurm", "login")
    assert [seen.subject for seen in office.seen] == [
        api_subject(USER, "cancel"),
        api_subject(USER, "cancel", admin=True),
        api_subject(USER, "approve", admin=True),
    ]


async def test_match_asks_for_words_as_submit_would_send_them(stage: Scene) -> None:
    """The settings' pool included."""
    reply = MatchReply(command="x", executor="shell", pool="p", why="w", candidates=())
    office = Office(lambda _: reply.model_dump_json().encode())
    async with stage.bus.serve("office", {api_subject("*", "match"): office}):
        assert await stage.client.match("echo a | wc", pool="p") == reply
    asked = json.loads(office.seen[0].data)
    assert (asked["argv"], asked["shell"], asked["pool"]) == (["echo a | wc"], True, "p")


def undecided(request: Request) -> bytes:
    """Say of every task that the bus gave no answer: it may be stored, or not."""
    tasks = SubmitRequest.model_validate_json(request.data).tasks
    error = to_wire(BusUnavailable("the bus gave no answer"))["error"]
    return Results(results=tuple(Result(uuid=t.uuid, error=error) for t in tasks)).model_dump_json().encode()


async def test_an_undecided_submission_is_asked_again(stage: Scene) -> None:
    """Under the same uuid: it makes no second task, and the id of one that was stored is learnt."""
    office = Office(undecided, accept)
    async with stage.bus.serve("office", {api_subject("*", "submit"): office}):
        result = await stage.client.submit("true")
    first, second = (SubmitRequest.model_validate_json(seen.data).tasks[0].uuid for seen in office.seen)
    assert first == second == result.uuid


async def test_what_stays_undecided_names_the_task(stage: Scene) -> None:
    """So that nobody submits it again without having looked."""
    async with stage.bus.serve("office", {api_subject("*", "submit"): Office(undecided)}):
        with pytest.raises(BusUnavailable, match=r"may have been accepted: `qme get [0-9a-f-]{36}`"):
            await stage.client.submit("true")

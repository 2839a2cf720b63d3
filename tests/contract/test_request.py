"""Asking services and answering."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.contract.conftest import World, soon

from qme.bus.port import Request
from qme.errors import BusUnavailable, LimitReached, NotFound, NotPermitted, QmeError


async def echo(request: Request) -> bytes:
    """Answer with what was asked."""
    return request.data


async def test_a_request_is_answered(world: World):
    """The handler gets subject, user token, data and headers, and its bytes come back."""
    seen: list[Request] = []

    async def handle(request: Request) -> bytes:
        seen.append(request)
        return b"yes"

    server = await world.connect("submitter")
    subject = f"qme.api.ann.{world.mark}"
    async with server.serve(world.mark, {f"qme.api.*.{world.mark}": handle}):
        said = {"Qme-Said": "softly"}
        assert await world.bus.request(subject, b"please", timeout=2, headers=said) == b"yes"
    assert [
        (request.subject, request.user, request.data, request.headers["Qme-Said"]) for request in seen
    ] == [(subject, "ann", b"please", "softly")]


async def test_a_subject_that_nobody_serves_is_told_at_once(world: World):
    """No waiting for the timeout."""
    async with asyncio.timeout(1):
        with pytest.raises(NotFound):
            await world.bus.request(f"qme.api.ann.{world.mark}", b"", timeout=30)


async def test_a_service_that_has_ended_is_not_asked(world: World):
    """Leaving the context ends the service."""
    async with world.bus.serve(world.mark, {f"qme.api.*.{world.mark}": echo}):
        assert await world.bus.request(f"qme.api.ann.{world.mark}", b"1", timeout=2) == b"1"
    with pytest.raises(NotFound):
        await world.bus.request(f"qme.api.ann.{world.mark}", b"", timeout=2)


async def test_an_answer_that_does_not_come_is_waited_for_no_longer_than_the_timeout(world: World):
    """A service that hangs makes the bus unavailable for this call."""

    async def hang(request: Request) -> bytes:
        await asyncio.sleep(1)
        return b""

    async with world.bus.serve(world.mark, {f"qme.api.*.{world.mark}": hang}):
        with pytest.raises(BusUnavailable):
            await world.bus.request(f"qme.api.ann.{world.mark}", b"", timeout=0.2)


async def test_a_request_with_another_users_subject_never_reaches_the_handler(world: World):
    """The answer would go to the asker's inbox, which is not the named user's: dropped before any work."""
    seen: list[Request] = []

    async def handle(request: Request) -> bytes:
        seen.append(request)
        return b"done"

    mallory = await world.connect("mallory")
    async with world.bus.serve(world.mark, {f"qme.api.*.{world.mark}": handle}):
        with pytest.raises(BusUnavailable):
            await mallory.request(f"qme.api.ann.{world.mark}", b"", timeout=0.3)
        assert await mallory.request(f"qme.api.mallory.{world.mark}", b"", timeout=2) == b"done"
    assert [request.user for request in seen] == ["mallory"]


async def test_a_name_that_begins_like_another_users_does_not_reach_its_inbox(world: World):
    """Ann's subject is not for ann2, and the other way round."""
    other = await world.connect("ann2")
    async with world.bus.serve(world.mark, {f"qme.api.*.{world.mark}": echo}):
        with pytest.raises(BusUnavailable):
            await other.request(f"qme.api.ann.{world.mark}", b"", timeout=0.3)
        with pytest.raises(BusUnavailable):
            await world.bus.request(f"qme.api.ann2.{world.mark}", b"", timeout=0.3)


async def test_requests_run_side_by_side(world: World):
    """One that waits does not hold up the others."""
    both = asyncio.Barrier(3)

    async def meet(request: Request) -> bytes:
        await both.wait()
        return b"met"

    async with world.bus.serve(world.mark, {f"qme.api.*.{world.mark}": meet}):
        asked = (world.bus.request(f"qme.api.ann.{world.mark}", b"", timeout=3) for _ in range(3))
        assert await asyncio.gather(*asked) == [b"met"] * 3


async def test_servers_of_one_name_share_the_requests(world: World):
    """Each request is worked on once, and each server gets some."""
    counts = [0, 0]

    def handler(number: int):
        async def handle(request: Request) -> bytes:
            counts[number] += 1
            return b""

        return handle

    other = await world.connect("submitter2")
    subject = f"qme.api.*.{world.mark}"
    async with (
        world.bus.serve(world.mark, {subject: handler(0)}),
        other.serve(world.mark, {subject: handler(1)}),
    ):
        for _ in range(40):
            await world.bus.request(f"qme.api.ann.{world.mark}", b"", timeout=2)
    assert sum(counts) == 40
    assert min(counts) > 0


async def test_one_server_has_several_subjects(world: World):
    """Each with its own handler."""

    async def other(request: Request) -> bytes:
        return b"other"

    mine, yours = f"qme.api.*.{world.mark}a", f"qme.action.*.{world.mark}b"
    async with world.bus.serve(world.mark, {mine: echo, yours: other}):
        assert await world.bus.request(mine.replace("*", "ann"), b"x", timeout=2) == b"x"
        assert await world.bus.request(yours.replace("*", "ann"), b"x", timeout=2) == b"other"


async def test_an_error_of_qme_goes_back_as_json(world: World):
    """Its code and sentence travel."""

    async def refuse(request: Request) -> bytes:
        raise NotPermitted("not yours")

    async with world.bus.serve(world.mark, {f"qme.api.*.{world.mark}": refuse}):
        answer = await world.bus.request(f"qme.api.ann.{world.mark}", b"", timeout=2)
    assert json.loads(answer) == {"error": {"code": "not_permitted", "message": "not yours"}}


async def test_any_other_failure_is_logged_and_told_without_its_details(
    world: World, caplog: pytest.LogCaptureFixture
):
    """An internal error shows nothing of the inside."""

    async def break_down(request: Request) -> bytes:
        raise ValueError("a secret")

    async with world.bus.serve(world.mark, {f"qme.api.*.{world.mark}": break_down}):
        answer = await world.bus.request(f"qme.api.ann.{world.mark}", b"", timeout=2)
        assert json.loads(answer)["error"]["code"] == QmeError.code
        assert b"secret" not in answer
        assert await soon(world.bus.request(f"qme.api.ann.{world.mark}", b"", timeout=2)) == answer
    assert "a secret" in caplog.text


async def test_a_request_or_an_answer_that_is_too_large_does_no_harm(world: World):
    """The asker is told; the connection lives on."""

    async def long_winded(request: Request) -> bytes:
        return bytes(2 * 1024 * 1024)

    async with world.bus.serve(world.mark, {f"qme.api.*.{world.mark}": long_winded}):
        with pytest.raises(LimitReached):
            await world.bus.request(f"qme.api.ann.{world.mark}", bytes(2 * 1024 * 1024), timeout=2)
        answer = await world.bus.request(f"qme.api.ann.{world.mark}", b"", timeout=2)
        assert json.loads(answer)["error"]["code"] == "limit"
    assert world.bus.connected


async def test_a_handler_that_works_when_the_service_ends_finishes_its_answer(world: World):
    """Stopping a service loses no request that it has begun."""
    begun = asyncio.Event()

    async def slow(request: Request) -> bytes:
        begun.set()
        await asyncio.sleep(0.2)
        return b"finished"

    async with world.bus.serve(world.mark, {f"qme.api.*.{world.mark}": slow}):
        asked = asyncio.create_task(world.bus.request(f"qme.api.ann.{world.mark}", b"", timeout=3))
        await soon(begun.wait())
    assert await asked == b"finished"


async def test_what_the_user_may_not_ask_or_serve_is_refused_quickly(world: World):
    """A missing right is told within a moment."""
    eve = await world.connect("eve")
    async with asyncio.timeout(1):
        with pytest.raises(NotPermitted):
            await eve.request(f"forbidden.{world.mark}", b"", timeout=30)
        with pytest.raises(NotPermitted):
            async with eve.serve(world.mark, {f"forbidden.{world.mark}": echo}):
                pass


async def test_a_closed_connection_says_so_and_may_be_closed_again(world: World):
    """Closing never raises; calls on a closed connection fail at once."""
    bus = await world.connect("bob")
    before = bus.connected
    await bus.close()
    await bus.close()
    assert (before, bus.connected) == (True, False)
    with pytest.raises(BusUnavailable):
        await soon(bus.request(f"qme.api.bob.{world.mark}", b"", timeout=2), 1)
    with pytest.raises(BusUnavailable):
        await soon(bus.last(world.stream, "x"), 1)


async def test_the_user_is_the_token_of_the_name(world: World):
    """A name that can't stand in a subject is spelled as a token."""
    bus = await world.connect("Jane Doe")
    assert bus.user.startswith("=")
    async with world.bus.serve(world.mark, {f"qme.api.*.{world.mark}": echo}):
        assert await bus.request(f"qme.api.{bus.user}.{world.mark}", b"x", timeout=2) == b"x"

"""`qme submit --file`: a long list goes to the bus slice by slice, so that memory does not grow with it.

With a key the list can be submitted again, after an interruption or with lines added: each line has a key of its own,
made of the key, the command, and how many lines above say the same.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Sequence

from qme.client import AsyncClient, words
from qme.client.origin import new_uuid
from qme.client.submission import Options, prepare
from qme.contracts.messages import Result, Submission
from qme.contracts.tasks import Parent

#: a command with the number of its line
Line = tuple[int, str]

#: lines of a slice, and slices under way at a time: one is made ready while the submitter works on the other
SLICE, TOGETHER = 500, 2


def check(lines: Sequence[Line]) -> None:
    """Look at all commands before any is submitted. Raises InvalidRequest."""
    for _, command in lines:
        words.argv_of(command)


def keys(key: str | None, lines: Sequence[Line]) -> Iterator[str | None]:
    """Give each line its key; None for each without a key."""
    seen: Counter[str] = Counter()
    for _, command in lines:
        if key is None:
            yield None
            continue
        digest = hashlib.sha256(command.encode()).hexdigest()[:32]
        seen[digest] += 1
        yield f"{key}/{digest}/{seen[digest]}"


async def results(
    client: AsyncClient, lines: Sequence[Line], wishes: Options, parents: Sequence[Parent], host: str
) -> AsyncIterator[tuple[int, Result]]:
    """Submit the commands; gives the number of each line with its result, in order, as answers come."""
    each_key = keys(wishes.key, lines)
    like = prepare(lines[0][1], wishes, host=host)  # reads files, folder and umask: once for all
    under_way: deque[tuple[Sequence[Line], asyncio.Task[list[Result]]]] = deque()
    try:
        for at in range(0, len(lines), SLICE):
            part = lines[at : at + SLICE]
            tasks = [client.own(_one(like, command, next(each_key)), parents) for _, command in part]
            under_way.append((part, asyncio.create_task(_submitted(client, tasks))))
            await asyncio.sleep(0)  # it is on its way before the next slice is made ready
            if len(under_way) >= TOGETHER:
                for one in await _first(under_way):
                    yield one
        while under_way:
            for one in await _first(under_way):
                yield one
    finally:
        for _, submitting in under_way:
            submitting.cancel()


def _one(like: Submission, command: str, key: str | None) -> Submission:
    argv = words.argv_of(command)
    shell = words.needs_shell(argv, like.cwd)
    return like.model_copy(update={"uuid": new_uuid(), "argv": argv, "shell": shell, "key": key})


async def _submitted(client: AsyncClient, tasks: Sequence[Submission]) -> list[Result]:
    return [result async for result in client.submit_many(tasks)]


async def _first(
    under_way: deque[tuple[Sequence[Line], asyncio.Task[list[Result]]]],
) -> list[tuple[int, Result]]:
    part, submitting = under_way.popleft()
    return [(number, result) for (number, _), result in zip(part, await submitting, strict=True)]

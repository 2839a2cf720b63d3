"""`qme logs`: a task's output, as the bytes that the command wrote."""

from __future__ import annotations

from qme.cli.context import Context, detaching, say
from qme.cli.parsing import Arguments, Parser, count
from qme.cli.raw import Sink, say_if_only_stderr
from qme.cli.verbs import Verb
from qme.client import AsyncClient, elements, groups
from qme.client.output import Output
from qme.client.pieces import Chunk
from qme.contracts.output import STDERR, STDOUT, STREAMS
from qme.contracts.tasks import TaskRecord
from qme.errors import InvalidRequest, NotFound

#: an executor's action `outputs` names the streams so
_NAMES = {STDOUT: "output", STDERR: "error"}


def arguments(parser: Parser) -> None:
    """Which task, which streams, and whether to stay."""
    parser.add_argument(
        "id",
        nargs="?",
        metavar="ID",
        help="default: your last task; ID[3]: that element of an array; @NAME: all of a group",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the task has ended")
    streams = parser.add_mutually_exclusive_group()
    streams.add_argument("--stderr", action="store_true", help="its stderr instead of its stdout")
    streams.add_argument("--both", action="store_true", help="both, each to the stream of its name")
    parser.add_argument(
        "--attempt", metavar="N", type=count, help="that attempt's (default: the current one's)"
    )


async def logs(args: Arguments, context: Context) -> int:
    """Write the bytes; say what is missing."""
    streams = STREAMS if args.both else (STDERR,) if args.stderr else (STDOUT,)
    sink = Sink(merged=not args.both)
    if args.id and (group := groups.name_of(args.id)) is not None:
        return await _of_group(args, context, group, streams)
    name, element = elements.split(args.id) if args.id else (None, None)
    if element is not None:
        _check_element(args, element)
    async with context.client() as client:
        record = await client.get(name, output=False)
        if element is not None:
            await _of_element(client, record, element, streams, sink)
            return 0
        if one := elements.numbered(record):
            say(f"the output of an array is read by element: `qme logs '{record.uid}[{one}]'`")
        if args.attempt is not None and not 1 <= args.attempt <= record.attempt:
            raise InvalidRequest(f"{record.uid} has attempts 1 to {record.attempt}, not {args.attempt}")
        output = client.output(record.uuid, attempt=args.attempt, streams=streams)
        final: TaskRecord | None = record
        if not args.follow:
            async for piece in output.stored(record):
                await sink.take(piece, record)
        else:
            final = await _follow(client, record, output, sink)
    # A record counts the bytes of its current attempt only.
    if final is not None and streams == (STDOUT,) and args.attempt in (None, final.attempt):
        say_if_only_stderr(final)
    return 0


async def _of_group(args: Arguments, context: Context, group: str, streams: tuple[str, ...]) -> int:
    """Write what the tasks of a group have put out so far, one after the other; whose it is stands on stderr."""
    if args.follow or args.attempt is not None:
        raise InvalidRequest("a group's output is read as it stands now, without --follow and --attempt")
    sink = Sink(merged=not args.both)
    async with context.client() as client:
        for record in await groups.members(client, group):
            say(f"{record.uid}: {record.command}")
            async for piece in client.output(record.uuid, streams=streams).stored(record):
                await sink.take(piece, record)
    return 0


def _check_element(args: Arguments, element: str) -> None:
    if not element.isdecimal():
        raise InvalidRequest(f"one element at a time, not {element}")
    if args.follow or args.attempt is not None:
        raise InvalidRequest("an element's output is read as it stands now, without --follow and --attempt")


async def _of_element(
    client: AsyncClient, record: TaskRecord, element: str, streams: tuple[str, ...], sink: Sink
) -> None:
    """Have a worker read the files of one element: with many of them, none is followed by itself."""
    answer = await client.actions().run(record, "outputs", {"element": element})
    if answer["errorfile"] == answer["outputfile"]:
        streams = streams[:1]
    for stream in streams:
        name = _NAMES[stream]
        if note := answer.get(f"{name}_note"):
            say(note)
        if answer[name] is None:
            raise NotFound(f"{record.uid}[{element}] has no {stream} yet")
        data = "".join(answer[name]).encode(errors="surrogateescape")
        await sink.take(Chunk(record.attempt, stream, 0, data), record)


async def _follow(client: AsyncClient, record: TaskRecord, output: Output, sink: Sink) -> TaskRecord | None:
    """Write what comes until the task has ended; give its record as it stands then."""
    with detaching(lambda: f"detached; the task goes on: `qme logs -f {record.uid}` follows it again"):
        async with output.following() as pieces:
            now = await client.records.find(record.uuid, leader=True)
            async for piece in pieces(now or record):
                await sink.take(piece, output.record)
    return output.record


VERBS = {"logs": Verb(arguments, logs)}

"""`qme run`: submit a command, show its output as it is written, and exit with its code."""

from __future__ import annotations

from qme.cli import exitcodes, options
from qme.cli.context import OWN_FAILURE, Context, detaching, say
from qme.cli.parsing import Arguments, Parser, add_command, command_of
from qme.cli.patience import speaking
from qme.cli.raw import Sink
from qme.cli.verbs import Verb
from qme.client.control import checked
from qme.client.submission import prepare
from qme.contracts.output import INCOMPLETE
from qme.contracts.tasks import Outcome, TaskRecord


def arguments(parser: Parser) -> None:
    """Options stand before the command; whatever follows its first word is the command's own."""
    options.add(parser)
    add_command(parser)
    parser.end_with(f"exit code:\n{exitcodes.HELP_OF_ONE}")


async def run(args: Arguments, context: Context) -> int:
    """Listen first, submit then: nothing can be missed, and nothing is read twice."""
    wishes = options.read(args)
    prepared = prepare(command_of(args), wishes, host=context.settings.host)
    async with context.client() as client:
        task = client.own(prepared, await client.parents(wishes))
        output = client.output(task.uuid)
        sink = Sink()
        uuid, accepted = task.uuid, False
        with detaching(lambda: _way_back(uuid, accepted)):
            async with (
                output.following() as pieces,
                speaking(client, uuid, accepted=lambda: accepted),
            ):
                async for result in client.submit_many([task]):
                    if checked(result).note:
                        say(str(result.note))
                accepted = True
                # With a key of the user's own, the task may be one that has run long since.
                before = await client.records.find(uuid, leader=True) if task.key else None
                async for piece in pieces(before):
                    try:
                        await sink.take(piece, output.record)
                    except BrokenPipeError:  # `| head` has seen enough
                        raise
                    except OSError:
                        say(_way_back(uuid, accepted))
                        raise
    assert output.record is not None  # noqa: S101 - the pieces end with the final record
    explain(output.record)
    return exitcodes.of_one(output.record)


def _way_back(uuid: str, accepted: bool) -> str:
    if not accepted:
        return f"detached before an answer came; `qme get {uuid}` tells whether it was submitted"
    return f"detached; the task goes on: `qme logs -f {uuid}`, `qme wait {uuid}`, `qme cancel {uuid}`"


def explain(record: TaskRecord) -> None:
    """Say how a task ended where its exit code does not: a command that ran to its end is not spoken over."""
    if record.data.get(INCOMPLETE):
        say(f"{record.uid}: {record.reason}")
        return
    code = record.data.get("returncode")
    # What keeps a program from being started stands in the task's own stderr; what broke around it does not, nor why a
    # job could not so much as open its output file.
    unsaid = code == OWN_FAILURE or not (record.data.get("output_bytes") or record.data.get("error_bytes"))
    ran = record.outcome is Outcome.FAILED and code is not None and not (unsaid and record.reason)
    if ran or record.outcome is Outcome.SUCCESS:
        return
    doubt = ", but its worker may still come back and tell otherwise" if record.provisional else ""
    reason = f": {record.reason}" if record.reason else ""
    say(f"{record.uid} ended as {record.outcome}{reason}{doubt}")


VERBS = {"run": Verb(arguments, run)}

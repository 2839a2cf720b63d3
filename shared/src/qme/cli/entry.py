"""From a command line to a verb, and from whatever happens there to an exit code and one line on stderr."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Sequence
from typing import Any

from qme.cli.context import DETACHED, OWN_FAILURE, PIPE, Context, say
from qme.cli.verbs import SYNONYMS, VERBS, Verb, short_help
from qme.errors import InvalidRequest, QmeError


def run(argv: Sequence[str] | None) -> int:
    """Run a command line and give its exit code."""
    context = Context()
    _open_missing()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a locale that lacks a character is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _dispatch(sys.argv[1:] if argv is None else list(argv), context)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return DETACHED
    except BrokenPipeError:  # whoever read our output has enough
        _silence()
        return PIPE
    except SystemExit as end:  # argparse has printed a help text
        return end.code if isinstance(end.code, int) else 0
    except QmeError as error:
        return _fail(context, error.message, error.exit_code)
    except OSError as error:
        return _fail(context, f"{error.filename or 'this machine'}: {error.strerror or error}", 1)
    except Exception as error:
        return _fail(
            context, f"internal error, {type(error).__name__}: {error} (QME_LOG_LEVEL=debug shows where)", 1
        )


def _dispatch(argv: list[str], context: Context) -> int:
    rest = _take_flags(argv, context)
    if not rest:
        print(short_help(), end="")
        return 0
    name, *arguments = rest
    if name == "help":
        name, arguments = (arguments[0], ["--help"]) if arguments else ("--help", [])
    if name in ("-h", "--help"):
        print(short_help(), end="")
        return 0
    name = "version" if name in ("-V", "--version") else name
    if name not in VERBS:
        raise InvalidRequest(_unknown(name))
    context.strict, context.hints = VERBS[name].strict, not VERBS[name].service
    if name == "submit":
        from qme.cli import quick

        if (code := quick.submit(arguments, context)) is not None:
            return code
    verb: Verb = importlib.import_module(f"qme.cli.{VERBS[name].module}").VERBS[name]
    from qme.cli.parsing import Parser

    parser = Parser(f"qme {name}", VERBS[name].summary)
    verb.arguments(parser)
    result = verb.run(parser.parse_args(arguments), context)
    return _awaited(result) if inspect.iscoroutine(result) else int(result)


def _awaited(result: Any) -> int:
    import asyncio  # a third of the time that light verbs take

    return int(asyncio.run(result))


def _take_flags(argv: list[str], context: Context) -> list[str]:
    """Take the settings that stand before the verb (``--nats-url URL`` or ``--nats-url=URL``); give what follows."""
    rest = list(argv)
    while rest and rest[0].startswith("--") and rest[0] not in ("--help", "--version"):
        key, equals, value = rest.pop(0)[2:].partition("=")
        if not equals and not rest:
            raise InvalidRequest(f"--{key} needs a value, and a verb after it")
        context.flags[key.replace("-", "_")] = value if equals else rest.pop(0)
    return rest


def _unknown(name: str) -> str:
    import difflib  # only for people's mistakes

    near = [SYNONYMS[name]] if name in SYNONYMS else difflib.get_close_matches(name, VERBS, 1, 0.5)
    hint = f"did you mean `qme {near[0]}`?" if near else "`qme` alone lists the verbs"
    return f"there is no verb {name!r}; {hint}"


def _fail(context: Context, message: str, code: int) -> int:
    if context.is_debugging():
        import traceback

        traceback.print_exc()
    say(" ".join(message.split()))
    return OWN_FAILURE if context.strict else code


def _open_missing() -> None:
    """Open what we were started without (``>&-``): else a socket gets its number, and output goes there."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != fd:
                os.dup2(null, fd)
                os.close(null)
            setattr(sys, name, open(fd, "w" if fd else "r", closefd=False))  # noqa: SIM115 - stays open


def _silence() -> None:
    # What is still buffered would raise once more as the interpreter ends.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)

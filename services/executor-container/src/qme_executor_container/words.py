"""A command line of docker, podman or apptainer, read and completed. Pure: nothing is run here.

Options as `docker run --help` and `podman-run(1)` list them: all take a value but those in `_FLAGS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qme.errors import InvalidRequest

#: engines whose containers have a daemon or a monitor of their own, and go on when the client ends
DETACHED = ("docker", "podman")

_FLAGS = frozenset(
    (
        "-d",
        "--detach",
        "--disable-content-trust",
        "-h",
        "--help",
        "--init",
        "-i",
        "--interactive",
        "--no-healthcheck",
        "--no-hostname",
        "--no-hosts",
        "--oom-kill-disable",
        "--passwd",
        "--privileged",
        "-P",
        "--publish-all",
        "-q",
        "--quiet",
        "--read-only",
        "--read-only-tmpfs",
        "--replace",
        "--rm",
        "--rmi",
        "--rootfs",
        "--sig-proxy",
        "--tls-verify",
        "-t",
        "--tty",
    )
)


@dataclass(frozen=True, slots=True)
class Run:
    """A command line that runs one container."""

    engine: str  #: the program's base name
    argv: tuple[str, ...]  #: what is run
    image: str | None
    name: str | None = None  #: of the container; None: the engine has no such thing
    remove: bool = False  #: the user wants it gone afterwards, which is done once it has been looked at


def read(words: Sequence[str], mark: str) -> Run:
    """Complete a command line: its container can be found by its name, and is still there when its client ends.

    `mark` is ``<uuid>.<attempt>``. Raises InvalidRequest for a line that would not run a container, or not wait for it.
    """
    program, verb, *rest = [*words, "", ""][: max(len(words), 2)]
    engine = program.rpartition("/")[2]
    at = _image_at(rest)
    image = rest[at] if at < len(rest) else None
    if image is None:
        raise InvalidRequest(f"`{' '.join(words[:2])}` names no image")
    if engine not in DETACHED:
        return Run(engine, (program, verb, *rest), image)
    options, command = list(rest[:at]), rest[at:]
    if _take(options, "-d", "--detach"):
        raise InvalidRequest(
            "a container that is detached ends unseen: leave out --detach, qme waits in your place (`qme submit`)"
        )
    remove = _take(options, "--rm")
    name = _value(options, "--name") or f"qme-{mark}"
    given = () if _value(options, "--name") else ("--name", name)
    ours = ("--label", f"qme.task={mark}", *given)
    return Run(engine, (program, verb, *ours, *options, *command), image, name, remove)


def _image_at(rest: Sequence[str]) -> int:
    at = 0
    while at < len(rest) and rest[at].startswith("-"):
        if rest[at] == "--":
            return at + 1
        at += 1 if _stands_alone(rest[at]) else 2
    return at


def _stands_alone(word: str) -> bool:
    if "=" in word or word in _FLAGS:
        return True
    short = not word.startswith("--")
    # -it and -p8080:80: letters of flags only, or a value right behind its letter
    return (
        short and len(word) > 2 and (f"-{word[1]}" not in _FLAGS or all(f"-{c}" in _FLAGS for c in word[1:]))
    )


def _take(options: list[str], *names: str) -> bool:
    """Take a flag out of the options, and tell whether it was set."""
    found = False
    for at in range(len(options) - 1, -1, -1):
        word, _, value = options[at].partition("=")
        letters = [name[1] for name in names if len(name) == 2]
        bundle = word[:1] == "-" and word[1:2] != "-" and all(f"-{c}" in _FLAGS for c in word[1:])
        if word in names:
            found = found or value.lower() not in ("false", "0")
            del options[at]
        elif bundle and any(letter in word[1:] for letter in letters):
            found = True
            options[at] = "-" + "".join(c for c in word[1:] if c not in letters)
    return found


def _value(options: Sequence[str], name: str) -> str | None:
    for at, word in enumerate(options):
        if word == name and at + 1 < len(options):
            return options[at + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None

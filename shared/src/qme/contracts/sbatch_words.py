"""The command line of ``sbatch`` as sbatch itself reads it: where its options end, what they say, where the script is.

Pure. Here, and not in the Slurm executor, as clients go by it too: they have the script, and may not have the executor.
It understands words only as far as qme needs it to; what it does not know is sbatch's to refuse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

Value = Literal["none", "optional", "required"]

#: long names whose value is the next word, unless it follows "="; with the short name of those that have one
_REQUIRED = """
    account=A acctg-freq array=a batch bb bbf begin=b chdir=D cluster-constraint clusters=M comment constraint=C
    container container-id context core-spec=S cores-per-socket cpu-freq cpus-per-gpu cpus-per-task=c deadline
    delay-boot dependency=d distribution=m error=e exclude=x export export-file extra extra-node-info=B gid
    gpu-bind gpu-freq gpus=G gpus-per-node gpus-per-socket gpus-per-task gres gres-flags hint input=i job-name=J
    kill-on-invalid-dep licenses=L mail-type mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus
    network nodefile=F nodelist=w
    nodes=N ntasks=n ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-socket ntasks-per-tres open-mode output=o
    partition=p power prefer priority profile qos=q reservation resv-ports segment signal sockets-per-node switches
    thread-spec threads-per-core time=t time-min tmp tres-bind tres-per-task uid wait-all-nodes wckey wrap
"""
#: the value, if there is one, follows "=" (or the short name) in the same word
_OPTIONAL = "exclusive get-user-env nice no-kill=k oom-kill-step propagate"
_NONE = """
    consolidate-segments contiguous help=h hold=H ignore-pbs no-requeue overcommit=O oversubscribe=s parsable quiet=Q
    reboot requeue spread-job spread-segments stepmgr test-only usage use-min-nodes verbose=v version=V wait=W
"""

LONG: dict[str, Value] = {}
SHORT: dict[str, str] = {}


def _declare(names: str, value: Value) -> None:
    for entry in names.split():
        long, _, short = entry.partition("=")
        LONG[long] = value
        if short:
            SHORT[short] = long


_declare(_REQUIRED, "required")
_declare(_OPTIONAL, "optional")
_declare(_NONE, "none")
_SYNONYMS = {"cluster": "clusters", "tasks-per-node": "ntasks-per-node"}


@dataclass(frozen=True, slots=True)
class Option:
    """One option as it was given."""

    #: long name; as typed where it is unknown
    name: str
    value: str | None
    #: words ``first`` to ``last`` hold it
    first: int
    last: int
    #: the value begins here in word ``last``
    offset: int = 0
    #: which job of a heterogeneous one it is for, from 0
    component: int = 0


@dataclass(frozen=True, slots=True)
class Words:
    """A read command line (or the words of a script's directives)."""

    options: tuple[Option, ...] = ()
    #: index of the word that names the script; None: none is given (``--wrap``, or the script comes from stdin)
    script: int | None = None
    #: the names of all options, to ask what is there
    names: frozenset[str] = field(default=frozenset())

    def last(self, name: str, component: int | None = None) -> Option | None:
        """Give the option that counts of those with this name: the last one."""
        found = [o for o in self.options if o.name == name and component in (None, o.component)]
        return found[-1] if found else None

    def value(self, name: str) -> str | None:
        """Give the value that counts; None where the option is not there or has none."""
        option = self.last(name)
        return option.value if option else None


def read(words: Sequence[str]) -> Words:
    """Read words that stand behind ``sbatch``, or come from its directives. Never fails."""
    options: list[Option] = []
    component = 0
    at = 0
    while at < len(words):
        word = words[at]
        if word == ":":
            component += 1
            at += 1
        elif word == "--":
            at += 1
            break
        elif word.startswith("-") and word != "-":
            given = list(_option(words, at, component))
            options += given
            at = given[-1].last + 1
        else:
            break
    names = frozenset(option.name for option in options)
    return Words(tuple(options), at if at < len(words) else None, names)


def script_word(argv: Sequence[str]) -> str | None:
    """Give the word of an sbatch command that names the script; None for ``--wrap`` and a script on stdin.

    sbatch looks for it in ``--chdir`` (`working_directory`) or else where it is started, then in PATH.
    """
    words = read(argv[1:])
    return None if words.script is None or "wrap" in words.names else argv[1 + words.script]


def working_directory(argv: Sequence[str]) -> str | None:
    """Give the folder that ``--chdir`` names on the command line."""
    return read(argv[1:]).value("chdir")


def _option(words: Sequence[str], at: int, component: int) -> Iterator[Option]:
    """Give the option in a word: several where short ones are bundled (``-Hv``)."""
    if words[at].startswith("--"):
        typed, equals, value = words[at][2:].partition("=")
        name, arity = _resolve(typed)
        if equals:
            yield Option(name, value, at, at, len(typed) + 3, component)
        elif arity == "required" and at + 1 < len(words):
            yield Option(name, words[at + 1], at, at + 1, 0, component)
        else:
            yield Option(name, None, at, at, 0, component)
        return
    letters = words[at][1:]
    for position, letter in enumerate(letters):
        name = SHORT.get(letter, letter)
        arity = LONG.get(name, "none")
        rest = letters[position + 1 :]
        if arity == "none" or (arity == "optional" and not rest):
            yield Option(name, None, at, at, 0, component)
        elif rest or at + 1 >= len(words):
            yield Option(name, rest or None, at, at, position + 2, component)
            return
        else:
            yield Option(name, words[at + 1], at, at + 1, 0, component)
            return


def _resolve(typed: str) -> tuple[str, Value]:
    """Complete a shortened long name as getopt does.

    A name that several options begin with is refused by some version of sbatch and known to another; if all of them
    take a value, the next word is one either way.
    """
    name = _SYNONYMS.get(typed, typed)
    if name in LONG:
        return name, LONG[name]
    matches = [name for name in LONG if name.startswith(typed)]
    arities = {LONG[name] for name in matches}
    if len(matches) == 1:
        return matches[0], arities.pop()
    return typed, arities.pop() if len(arities) == 1 else "none"

"""`qme completions SHELL`: a script that completes verbs, options and ids, made from the verbs' own parsers.

The script is static, so that a press of the key starts no Python; ids alone are asked for, where a verb takes them.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from typing import NamedTuple

from qme.cli.context import Context
from qme.cli.parsing import Arguments, Parser
from qme.cli.verbs import VERBS as ALL
from qme.cli.verbs import Verb


class _Known(NamedTuple):
    """What can follow a verb."""

    name: str
    summary: str
    #: each option's spellings, its help, and whether a value follows
    options: tuple[tuple[tuple[str, ...], str, bool], ...]
    takes_ids: bool
    takes_command: bool


def arguments(parser: Parser) -> None:
    """For which shell."""
    parser.add_argument("shell", choices=sorted(_SHELLS), help="the shell that is to read it")
    parser.end_with(
        """
        bash:  qme completions bash > ~/.local/share/bash-completion/completions/qme
        zsh:   qme completions zsh > ~/.qme-completion.zsh   and source it in ~/.zshrc, after compinit
        fish:  qme completions fish > ~/.config/fish/completions/qme.fish
        """
    )


def completions(args: Arguments, _: Context) -> int:
    """Print the script."""
    print(_SHELLS[args.shell](list(_known())), end="")
    return 0


def _known() -> Iterator[_Known]:
    for name, entry in ALL.items():
        parser = Parser(f"qme {name}", entry.summary)
        importlib.import_module(f"qme.cli.{entry.module}").VERBS[name].arguments(parser)
        actions = parser._actions  # noqa: SLF001 - argparse has no other way to list them
        options = tuple(
            (tuple(one.option_strings), " ".join((one.help or "").split()), one.nargs != 0)
            for one in actions
            if one.option_strings
        )
        positional = [one for one in actions if not one.option_strings]
        yield _Known(
            name,
            entry.summary,
            options,
            takes_ids=any("ID" in str(one.metavar) for one in positional),
            takes_command=any(one.nargs == argparse.REMAINDER for one in positional),
        )


# -- bash, and zsh by its bashcompinit ------------------------------------------------------------------------------
_BASH = """\
# completion of qme for {shell}
_qme() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} verb= at=1 options= values= kind=
    COMPREPLY=()
    while (( at < COMP_CWORD )); do
        case ${{COMP_WORDS[at]}} in
            --*=*) ;;
            --help|--version) return ;;
            --*) (( at += 1 )) ;;
            *) verb=${{COMP_WORDS[at]}}; break ;;
        esac
        (( at += 1 ))
    done
    if [ -z "$verb" ]; then
        COMPREPLY=($(compgen -W "{verbs}" -- "$word"))
        return
    fi
    case $verb in
{cases}
    esac
    if [ "$kind" = command ]; then
        while (( (at += 1) < COMP_CWORD )); do
            case " $values " in *" ${{COMP_WORDS[at]}} "*) (( at += 1 )); continue ;; esac
            case ${{COMP_WORDS[at]}} in -*) ;; *) COMPREPLY=($(compgen -f -- "$word")); return ;; esac
        done
    fi
    case " $values " in *" $before "*) COMPREPLY=($(compgen -f -- "$word")); return ;; esac
    case $kind:$word in
        *:-*) COMPREPLY=($(compgen -W "$options" -- "$word")) ;;
        ids:*) COMPREPLY=($(compgen -W "last $(qme ls --limit 30 2>/dev/null | cut -f 1)" -- "$word")) ;;
        command:*) COMPREPLY=($(compgen -c -- "$word")) ;;
        *) COMPREPLY=($(compgen -f -- "$word")) ;;
    esac
}}
complete -o bashdefault -o default -F _qme qme
"""
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def _bash(known: list[_Known], shell: str = "bash") -> str:
    cases = []
    for verb in known:
        spelled = " ".join(name for names, _, _ in verb.options for name in names)
        values = " ".join(name for names, _, takes in verb.options if takes for name in names)
        kind = "command" if verb.takes_command else "ids" if verb.takes_ids else ""
        cases.append(f"        {verb.name}) options={spelled!r} values={values!r} kind={kind} ;;")
    return _BASH.format(shell=shell, verbs=" ".join(verb.name for verb in known), cases="\n".join(cases))


def _zsh(known: list[_Known]) -> str:
    return _ZSH + _bash(known, "zsh")


# -- fish -------------------------------------------------------------------------------------------------------------
def _fish(known: list[_Known]) -> str:
    lines = ["# completion of qme for fish", "complete -c qme -n __fish_use_subcommand -f"]
    for verb in known:
        lines.append(f"complete -c qme -n __fish_use_subcommand -a {verb.name} -d {_quoted(verb.summary)}")
        seen = f"-n '__fish_seen_subcommand_from {verb.name}'"
        if verb.takes_ids:
            lines.append(f"complete -c qme {seen} -f -a 'last (qme ls --limit 30 2>/dev/null | cut -f 1)'")
        for names, text, takes in verb.options:
            spelled = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in names)
            lines.append(f"complete -c qme {seen} {spelled} {'-r ' * takes}-d {_quoted(text)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}

VERBS = {"completions": Verb(arguments, completions)}

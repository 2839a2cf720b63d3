"""The table of real commands: data only. `test_real_commands.py` runs each directly and through qme; the page
`docs/real-commands.md` is printed from the same rows (``python -m tests.integration.real_commands``).

Each row: what it shows, the command (a list is run as it is, a string is what a person types in one pair of quotes).
Commands run in a folder that `prepare` has filled.
"""

from __future__ import annotations

import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

C_PROGRAM = r"""
#include <stdio.h>
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) printf("%d:%s\n", i, argv[i]);
    fprintf(stderr, "done\n");
    return argc - 1;
}
"""

PY = sys.executable


@dataclass(frozen=True)
class Row:
    """One command and what it shows."""

    shows: str
    command: list[str] | str

    @property
    def text(self) -> str:
        """The command as the page prints it: short, the interpreter by its plain name."""
        words = [self.command] if isinstance(self.command, str) else self.command
        line = " ".join(repr(w) if not w or set(w) & set(" \n'\"$|;") else w for w in words)
        line = line.replace(PY, "python3").replace("|", "\\|").replace("\n", "⏎")
        return line if len(line) <= 90 else line[:87] + "…"


def prepare(folder: Path) -> None:
    """Fill the folder with the input that the commands read."""
    (folder / "prog.c").write_text(C_PROGRAM)
    (folder / "lines.txt").write_text("".join(f"line {n}\n" for n in range(1000)))
    (folder / "ünïcode näme.txt").write_text("grüße\n")
    (folder / "latin1.txt").write_bytes("caf\xe9\n".encode("latin-1"))
    (folder / "no newline").write_bytes(b"no newline at the end")
    (folder / "bytes.bin").write_bytes(bytes(range(256)) * 64)
    (folder / "tree").mkdir()
    for number in range(20):
        (folder / "tree" / f"f{number:02}").write_text(f"{number}\n" * 50)
    with tarfile.open(folder / "tree.tar.gz", "w:gz") as archive:
        archive.add(folder / "tree", "tree")
    script = folder / "script with space.sh"
    script.write_text('#!/bin/sh\necho "script got: $1"\nexit 4\n')
    script.chmod(0o755)
    plain = folder / "no_shebang"
    plain.write_text("echo run by sh\nexit 6\n")
    plain.chmod(0o755)
    (folder / "not_executable").write_text("#!/bin/sh\n")
    (folder / "traceback.py").write_text("def f():\n    raise ValueError('grüße')\nf()\n")


ROWS: tuple[Row, ...] = (
    Row("a plain command", ["echo", "hello", "moto"]),
    Row("nothing written, code 0", ["true"]),
    Row("nothing written, code 1", ["false"]),
    Row("spaces and quotes in arguments", ["printf", "[%s]", "a b", 'c"d', "e'f", "$HOME", "*", "\\"]),
    Row("an empty argument", ["printf", "[%s]", "a", "", "b"]),
    Row("only empty arguments", ["printf", "[%s]", "", ""]),
    Row("a newline and a tab in an argument", ["printf", "%s", "one\ntwo\tthree"]),
    Row("unicode arguments", ["printf", "%s\n", "grüße", "日本語", "🙂"]),
    Row("an argument that looks like an option of qme", ["echo", "--help", "-m", "--timeout", "3", "--"]),
    Row("2,000 arguments", ["printf", "%s\n", *[f"argument-{n}" for n in range(2000)]]),
    Row("an argument of 100,000 characters", ["printf", "%s", "x" * 100_000]),
    Row("a file name with spaces and umlauts", ["cat", "ünïcode näme.txt"]),
    Row("output that is not UTF-8", ["cat", "latin1.txt"]),
    Row("binary output, every byte", ["cat", "bytes.bin"]),
    Row("output without a newline at the end", ["cat", "no newline"]),
    Row("NUL bytes", ["printf", "a\\0b\\0"]),
    Row("standard error only", ["sh", "-c", "echo oops >&2"]),
    Row("both streams, interleaved", ["sh", "-c", "for i in 1 2 3 4 5; do echo o$i; echo e$i >&2; done"]),
    Row("standard input is empty", ["cat"]),
    Row("standard input is empty for wc", ["wc", "-c"]),
    Row("a pipeline", "echo a | wc -c"),
    Row("a pipeline that sorts", "sort -r lines.txt | head -3"),
    Row("shell variables and quoting", 'x="a  b"; echo "$x" | tr a-z A-Z'),
    Row("redirection", "cat < lines.txt | tail -1 > out.txt; cat out.txt; rm out.txt"),
    Row("and, or, subshell", "(false || echo second) && echo third"),
    Row("globs", "ls tree/f0*"),
    Row("command substitution", "echo $(expr 6 \\* 7)"),
    Row("a here document", "cat <<END\nline one\nline two\nEND"),
    Row("a shell's own exit code", "exit 17"),
    Row("a command not found, in a shell", "no-such-program-here 2>/dev/null"),
    Row("compile a C program and run it", ["sh", "-c", "cc -o prog prog.c && ./prog one 'two three'"]),
    Row(
        "compile with errors",
        ["sh", "-c", "echo 'int main(' > bad.c; cc -c bad.c 2>/dev/null; echo $?; rm -f bad.c"],
    ),
    Row("list an archive", ["tar", "tzf", "tree.tar.gz"]),
    Row(
        "pack and unpack an archive",
        "mkdir -p t && tar xzf tree.tar.gz -C t && cat t/tree/* | md5sum; rm -r t",
    ),
    Row("an archive on standard output", ["tar", "cf", "-", "--sort=name", "--mtime=@0", "tree"]),
    Row("sort 1,000,000 lines", "seq 1000000 | sort -rn | md5sum"),
    Row("a Python program", [PY, "-c", "print(sum(range(1000)))"]),
    Row("a Python traceback", [PY, "traceback.py"]),
    Row("a Python program that exits with text", [PY, "-c", "import sys; sys.exit('went wrong')"]),
    Row("awk", ["awk", "{ s += $2 } END { print s }", "lines.txt"]),
    Row("sed with a script", ["sed", "-n", "s/line \\(9.\\)$/<\\1>/p", "lines.txt"]),
    Row("find and xargs", "find tree -name 'f1*' | sort | xargs cat | wc -l"),
    Row("a script with a space in its name", ["./script with space.sh", "an argument"]),
    Row("a script without a first line naming its interpreter", ["sh", "./no_shebang"]),
    Row("exit code 2", ["sh", "-c", "exit 2"]),
    Row("exit code 5 (not qme's own 5)", ["sh", "-c", "exit 5"]),
    Row("exit code 125", ["sh", "-c", "exit 125"]),
    Row("exit code 255", ["sh", "-c", "exit 255"]),
    Row("ended by SIGTERM", ["sh", "-c", "kill -TERM $$"]),
    Row("ended by SIGKILL", ["sh", "-c", "kill -KILL $$"]),
    Row("ended by SIGSEGV", ["sh", "-c", "kill -SEGV $$"]),
    Row("ended by SIGPIPE", [PY, "-c", "import os, signal; signal.signal(13, 0); os.kill(os.getpid(), 13)"]),
    Row("a pipe that its reader closes", "yes | head -1000 | md5sum"),
    Row("50 MB of output", ["head", "-c", "50000000", "/dev/zero"]),
    Row("a line of 5 MB", [PY, "-c", "print('x' * 5_000_000)"]),
    Row("100,000 short lines", ["seq", "100000"]),
    Row("10,000 lines on each stream", ["sh", "-c", "seq 10000; seq 10000 >&2"]),
    Row("colours", ["printf", "\\033[31mred\\033[0m\\n"]),
    Row("carriage returns, as a progress bar writes them", ["printf", "10%%\\r50%%\\r100%%\\n"]),
    Row("a grandchild that writes after a pause", "(sleep 0.3; echo late) & wait"),
    Row("the working folder", ["sh", "-c", "ls | head -3; test -f prog.c"]),
    Row("the umask", ["sh", "-c", "umask 027; touch made; stat -c %a made; rm made"]),
)


def page() -> str:
    """The documentation page of this table."""
    lines = [
        "# Real commands, directly and through qme",
        "",
        "Each of these is run directly and through `qme run`; standard output, standard error and the exit code are",
        "equal, byte for byte. The exit codes 0 to 255 are tried besides. `make test-integration` runs the table;",
        "this page is printed by `python -m tests.integration.real_commands`.",
        "",
        "| # | what it shows | command |",
        "|---|---|---|",
    ]
    lines += [f"| {number} | {row.shows} | `{row.text}` |" for number, row in enumerate(ROWS, 1)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())

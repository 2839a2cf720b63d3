"""The table of Slurm tasks, by what it is about. Data only; see `fates` for what a row says.

``python -m tests.slurm.page`` prints it as docs/slurm-jobs.md.
"""

from __future__ import annotations

from tests.slurm.fates import Fate
from tests.slurm.refusals import REFUSALS

from qme.contracts.tasks import Outcome

CANCELLED, FAILED, SUCCESS = Outcome.CANCELLED, Outcome.FAILED, Outcome.SUCCESS
#: a shell's own variable of 300 MB, so that nothing has to be installed
GREEDY = "x=$(head -c 300M /dev/zero | tr '\\0' x)"
NO_OUTPUT = "Slurm could not open the job's output file, or enter its working directory (0:53)"
BY_QME = "cancelled by {user}"
IN_SLURM = "the job was cancelled in Slurm"
#: what slurmstepd writes into the output of a job that is ended
ENDED_BY = "slurmstepd-{{node}}: error: *** JOB {{job}} ON {{node}} CANCELLED AT {{time}}{} ***\n"


def failed(name: str, command: str, code: int, *words: str, **more: object) -> Fate:
    """A job of one shell command, which ends badly."""
    return Fate(name, (*words, "--wrap", command), FAILED, code, "FAILED", **more)  # type: ignore[arg-type]


def fine(name: str, *words: str, output: str = "hi\n", **more: object) -> Fate:
    """A job that says hi."""
    scripted = "script" in more or any(word.endswith(".sh") for word in words)
    wrapped = () if "--wrap" in words or scripted else ("--wrap", "echo hi")
    return Fate(name, (*words, *wrapped), SUCCESS, 0, "COMPLETED", output=output, **more)  # type: ignore[arg-type]


def cancelled(name: str, words: tuple[str, ...], act: str, **more: object) -> Fate:
    """A job that is cancelled while it waits or runs."""
    reason = BY_QME if act.startswith("qme") else IN_SLURM
    return Fate(name, words, CANCELLED, 1, "CANCELLED", act=act, reason=reason, **more)  # type: ignore[arg-type]


ENDINGS = [
    fine("ok", "--wrap", "true", output=""),
    failed("exit-1", "exit 1", 1),
    failed("exit-3", "echo before; exit 3", 3, output="before\n"),
    failed("exit-42", "exit 42", 42),
    failed("exit-128", "exit 128", 128, accounted=1),
    failed("exit-255", "exit 255", 255, accounted=127),
    failed("sighup", "kill -HUP $$", 128 + 1, accounted=1),
    failed("sigkill", "kill -9 $$", 128 + 9),
    failed("sigusr1", "kill -USR1 $$", 128 + 10),
    failed("sigsegv", "kill -SEGV $$", 128 + 11),
    failed("sigterm", "kill -TERM $$", 128 + 15),
    failed("two-lines", "true\nexit 4 # qme:not-this:1 | \x01", 4),
    failed("not-found", "no-such-command", 127, output="{script}: 4: no-such-command: not found\n"),
    failed("no-output-folder", "true", 181, "-o", "no/such/folder/%j.out", reason=NO_OUTPUT, outputfile="no/such/folder/{job}.out"),
    failed("no-error-folder", "true", 181, "-e", "no/such/folder/%j.err", reason=NO_OUTPUT, errorfile="no/such/folder/{job}.err"),
    failed("no-directory", "true", 181, "--chdir=/no/such/folder", reason=NO_OUTPUT, outputfile="/no/such/folder/slurm-{job}.out"),
    Fate(
        "no-interpreter", (), FAILED, 2, "FAILED", script="#!/no/such/interpreter\n",
        output="slurmstepd-{node}: error: execve(): bad interpreter(/no/such/interpreter): No such file or directory\n",
    ),
    failed("step-fails", "srun sh -c 'exit 7'", 7, output="srun: error: {node}: task 0: Exited with exit code 7\n"),
    fine(
        "step-fails-script-does-not", "--wrap", "srun sh -c 'exit 7'; true",
        output="srun: error: {node}: task 0: Exited with exit code 7\n",
    ),
    failed(
        "too-much-memory", f"{GREEDY}; sleep 9", 137, "--mem=20", "-o", "/dev/null", outputfile="/dev/null",
    ),
    Fate(
        "own-time-limit", ("--wrap", "exec sleep 600"), Outcome.TIMEOUT, 124, "CANCELLED", options=("--timeout", "2"), accounted=1,
        reason="ended at the task's own time limit of 2 s", output=ENDED_BY.format(""),
    ),
    Fate(
        "time-limit", ("-t", "1", "-w", "n1", "--wrap", "exec sleep 600"), Outcome.TIMEOUT, 124, "TIMEOUT", slow=True,
        reason="Slurm ended the job at its time limit", output=ENDED_BY.format(" DUE TO TIME LIMIT"),
    ),
    Fate(
        "deadline", ("--deadline=now+5", "--wrap", "exec sleep 600"), Outcome.DEADLINE, 1, "DEADLINE", slow=True,
        reason="the job could not end before its deadline",
    ),
    failed("waited-for", "sleep 2; exit 4", 4, "-W"),
    failed("waited-for-by-variable", "exit 4", 4, options=("--env", "SBATCH_WAIT=1")),
    failed("quiet", "exit 6", 6, "-Q"),
]  # fmt: skip

DONE_TO = [
    cancelled("cancelled-waiting", ("-H", "--wrap", "true"), "qme cancel, waiting", waits="in Slurm's queue: JobHeldUser (held)"),
    cancelled("cancelled-running", ("--wrap", "exec sleep 600"), "qme cancel, running", output=ENDED_BY.format("")),
    cancelled("scancelled-waiting", ("-H", "--wrap", "true"), "scancel, waiting", waits="in Slurm's queue: JobHeldUser (held)"),
    cancelled("scancelled-running", ("--wrap", "exec sleep 600"), "scancel, running", output=ENDED_BY.format("")),
    cancelled(
        "cancelled-but-ends-well", ("--wrap", "trap 'exit 0' TERM; sleep 600 & wait"), "scancel, running",
        output=ENDED_BY.format(""),
    ),
    fine("held-and-released", "-H", act="qme exec release, waiting", waits="in Slurm's queue: JobHeldUser (held)"),
    cancelled("later", ("--begin=now+1hour", "--wrap", "true"), "qme cancel, waiting", waits="in Slurm's queue: BeginTime (held)"),
    cancelled("too-many-cpus", ("-n", "100", "--wrap", "true"), "qme cancel, waiting", waits="in Slurm's queue: PartitionConfig (held)"),
    cancelled(
        "too-long-for-its-partition", ("-p", "short", "-t", "1:00:00", "--wrap", "true"), "qme cancel, waiting",
        waits="in Slurm's queue: PartitionTimeLimit (held)",
    ),
    cancelled("partition-down", ("-p", "down", "--wrap", "true"), "qme cancel, waiting", waits="in Slurm's queue: PartitionDown (held)"),
    cancelled(
        "dependency-never-satisfied", ("-d", "afterok:{job of exit-3}", "--wrap", "true"), "qme cancel, waiting",
        waits="in Slurm's queue: DependencyNeverSatisfied (held)",
    ),
    Fate(
        "dependency-kills", ("-d", "afterok:{job of exit-3}", "--kill-on-invalid-dep=yes", "--wrap", "true"), CANCELLED, 1,
        "CANCELLED", reason=IN_SLURM,
    ),
    fine("after-a-failure", "-d", "afternotok:{job of exit-3}"),
    fine("after-a-success", "-d", "afterok:{job of ok}"),
    fine("after-an-unknown-job", "-d", "afterok:999999"),
    Fate(
        "requeued", ("--wrap", "[ $SLURM_RESTART_COUNT ] || { echo first; exec sleep 600; }; exit 6"), FAILED, 6, "FAILED",
        act="scontrol requeue, running", restarts=1,
        output="first\nslurmstepd-{node}: error: *** JOB {job} ON {node} CANCELLED AT {time} DUE TO JOB REQUEUE ***\n",
    ),
    Fate(
        "node-fails", ("-w", "n2", "--no-requeue", "-o", "/dev/null", "--wrap", "exec sleep 600"), Outcome.NODE_FAIL, 1, "NODE_FAIL",
        act="node set down, running", reason="a node of the job failed", outputfile="/dev/null", slow=True,
    ),
    fine(
        "node-fails-and-requeued", "-w", "n2", "--requeue", "--wrap", "[ $SLURM_RESTART_COUNT ] || exec sleep 600; echo again",
        act="node set down, running", restarts=1, slow=True,
        output=ENDED_BY.format(" DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS") + "again\n",
    ),
]  # fmt: skip

PARTS = [
    Fate(
        "array", ("-a", "0-3", "--wrap", "echo e$SLURM_ARRAY_TASK_ID; exit $SLURM_ARRAY_TASK_ID"), FAILED, 3, "FAILED",
        counts={"total": 4, "success": 1, "failed": 3}, outputfile="slurm-{job}_%a.out",
        files={f"slurm-{{job}}_{at}.out": f"e{at}\n" for at in range(4)},
    ),
    fine("array-ok", "-a", "1-9:4%2", output="", outputfile="slurm-{job}_%a.out", counts={"total": 3, "success": 3}),
    fine(
        "array-of-one", "-a", "7", "-o", "one-%A-%a.txt", output="", outputfile="one-{job}-%a.txt",
        counts={"total": 1, "success": 1}, files={"one-{job}-7.txt": "hi\n"},
    ),
    fine(
        "array-by-directive", output="", script="#!/bin/sh\n#SBATCH -a 1,3\n#SBATCH -o dir-%a.txt\necho hi\n",
        outputfile="dir-%a.txt", counts={"total": 2, "success": 2}, files={"dir-1.txt": "hi\n", "dir-3.txt": "hi\n"},
    ),
    fine(
        "array-by-variable", output="", options=("--env", "SBATCH_ARRAY_INX=0-1"),
        outputfile="slurm-{job}_%a.out", counts={"total": 2, "success": 2},
    ),
    cancelled(
        "array-cancelled", ("-H", "-a", "0-5", "--wrap", "true"), "qme cancel, waiting",
        waits="in Slurm's queue: JobHeldUser (held)",
        counts={"total": 6, "cancelled": 6}, outputfile="slurm-{job}_%a.out",
    ),
    cancelled(
        "array-mixed", ("-a", "1-3", "--wrap", "[ $SLURM_ARRAY_TASK_ID = 2 ] || exec sleep 600"), "scancel, running",
        counts={"total": 3, "success": 1, "cancelled": 2}, outputfile="slurm-{job}_%a.out",
    ),
    Fate("het", ("-n1", ":", "-n1", "--wrap", "exit 5"), FAILED, 5, "FAILED", counts={"total": 2, "failed": 2}),
    fine("het-by-directive", counts={"total": 2, "success": 2}, script="#!/bin/sh\n#SBATCH -n1\n#SBATCH hetjob\n#SBATCH -n1\necho hi\n"),
]  # fmt: skip

OUTPUTS = [
    fine("default-output"),
    fine("o-word", "-o", "o-word.txt", outputfile="o-word.txt"),
    fine("o-joined", "-oo-joined.txt", outputfile="o-joined.txt"),
    fine("o-equals", "-o=o-equals.txt", outputfile="=o-equals.txt"),
    fine("output-word", "--output", "output-word.txt", outputfile="output-word.txt"),
    fine("output-equals", "--output=output-equals.txt", outputfile="output-equals.txt"),
    fine("output-shortened", "--out=short.txt", outputfile="short.txt"),
    fine("output-twice", "-o", "first.txt", "--output=second.txt", outputfile="second.txt"),
    fine("output-absolute", "-o", "{work}/absolute.txt", outputfile="absolute.txt"),
    fine("output-with-space", "-o", "two words.txt", outputfile="two words.txt"),
    fine("output-nowhere", "-o", "/dev/null", output="", outputfile="/dev/null"),
    fine("error-apart", "-e", "apart.err", "--wrap", "echo out; echo err >&2", output="out\n", error="err\n", errorfile="apart.err"),
    fine("error-equals", "--error=%j.err", "--wrap", "echo err >&2", output="", error="err\n", errorfile="{job}.err"),
    fine("both-in-one", "--wrap", "echo out; echo err >&2", output="out\nerr\n"),
    fine("pattern-j", "-o", "j-%j.txt", outputfile="j-{job}.txt"),
    fine("pattern-x", "-J", "named", "-o", "x-%x-%j.txt", outputfile="x-named-{job}.txt"),
    fine("pattern-x-of-wrap", "-o", "%x-%j.txt", outputfile="wrap-{job}.txt"),
    fine("pattern-A", "-o", "A-%A.txt", outputfile="A-{job}.txt"),
    fine("pattern-u", "-o", "u-%u.txt", outputfile="u-{user}.txt"),
    fine("pattern-N", "-w", "n1", "-o", "N-%N.txt", outputfile="N-{host}.txt"),
    fine("pattern-padded", "-o", "padded-%8j.txt", outputfile="padded-{padded}.txt"),
    fine("pattern-n-t-s", "-o", "nts-%n-%t-%s.txt", outputfile="nts-0-0-batch.txt"),
    fine("pattern-J", "-o", "J-%J.txt", outputfile="J-{job}.txt"),
    fine("pattern-of-none", "-o", "none-%q-%j.txt", outputfile="none-%q-{job}.txt"),
    fine("pattern-escaped", "-o", r"escaped\%j.txt", outputfile="escaped%j.txt"),
    fine("pattern-percent-j", "-o", "%%j-%j.txt", outputfile="%j-{job}.txt"),
    fine("pattern-percent", "-o", "percent-%%.txt", outputfile="percent-%.txt"),
    fine("chdir", "--chdir=below", "--wrap", "basename $PWD", output="below\n", outputfile="below/slurm-{job}.out"),
    fine("chdir-and-output", "-D", "below", "-o", "in-%j.txt", outputfile="below/in-{job}.txt"),
    fine("output-by-directive", script="#!/bin/sh\n#SBATCH -o directive-%j.txt\necho hi\n", outputfile="directive-{job}.txt"),
    fine("output-after-a-command", script="#!/bin/sh\necho hi\n#SBATCH -o late-%j.txt\n"),
    fine("output-by-variable", options=("--env", "SBATCH_OUTPUT=variable-%j.txt"), outputfile="variable-{job}.txt"),
    fine(
        "variable-beats-directive", options=("--env", "SBATCH_OUTPUT=beats-%j.txt"),
        script="#!/bin/sh\n#SBATCH -o beaten-%j.txt\necho hi\n", outputfile="beats-{job}.txt",
    ),
    fine("word-beats-variable", "-o", "word-%j.txt", options=("--env", "SBATCH_OUTPUT=no-%j.txt"), outputfile="word-{job}.txt"),
    fine("error-by-variable", "--wrap", "echo err >&2", output="", error="err\n", options=("--env", "SBATCH_ERROR=v-%j.err"), errorfile="v-{job}.err"),
    fine("input", "-i", "input.txt", "--wrap", "cat", output="from a file\n"),
    fine("no-newline-at-the-end", "--wrap", "printf 'grüße, no newline'", output="grüße, no newline"),
]  # fmt: skip

WISHES = [
    fine("script-here", "job.sh", "x y", output="got x y\n", outputfile="job-{job}.txt"),
    fine("script-in-path", "/usr/bin/sbatch", "{work}/job.sh", output="got \n", outputfile="job-{job}.txt"),
    fine("script-sent", "nowhere/sent.sh", options=("--send", "{elsewhere}/sent.sh"), output="sent\n"),
    fine("script-on-stdin", script="#!/bin/sh\necho hi\n"),
    fine("script-in-python", script="#!/usr/bin/env python3\nprint('hi')\n"),
    fine("comment-in-script", script="#!/bin/sh\n#SBATCH --comment='two words'\necho hi\n"),
    fine("name-by-variable", "-o", "%x-%j.txt", options=("--env", "SBATCH_JOB_NAME=called"), outputfile="called-{job}.txt"),
    fine("partition-by-variable", "--wrap", "echo $SLURM_JOB_PARTITION", options=("--env", "SBATCH_PARTITION=other"), output="other\n"),
    fine("variable-for-the-job", "--wrap", "echo $COLOUR", options=("--env", "COLOUR=red"), output="red\n"),
    fine("export-none", "--export=NONE", "--wrap", "echo none$COLOUR", options=("--env", "COLOUR=red"), output="none\n"),
    fine("cluster-named", "-M", "qme"),
    fine("two-nodes", "-N2", "--wrap", "srun -l sh -c 'echo $SLURMD_NODENAME' | sort", output="0: n1\n1: n2\n"),
]  # fmt: skip

SECTIONS: dict[str, list[Fate]] = {
    "How jobs end": ENDINGS,
    "What is done to them": DONE_TO,
    "Arrays and heterogeneous jobs": PARTS,
    "Output": OUTPUTS,
    "Scripts, variables and other wishes": WISHES,
    "What sbatch refuses": REFUSALS,
}
FATES = [fate for rows in SECTIONS.values() for fate in rows]

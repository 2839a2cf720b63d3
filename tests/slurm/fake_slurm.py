"""A Slurm for what a real one can't be made to do on demand: one program that is each of Slurm's, by the name it is
called by. Alone on its interpreter: nothing of this project is imported here.

In the folder above its own: ``how.json`` says how it behaves (`scripted.Scripted` writes it), ``jobs/<id>`` are the
jobs, and every call adds its words to ``calls``.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.argv[0]).name
WORDS = sys.argv[1:]
HOME = Path(sys.argv[0]).parents[1]
TIMED_OUT = "Batch job submission failed: Socket timed out on send/recv operation"


def main() -> None:
    """Be the program that was called."""
    how = json.loads((HOME / "how.json").read_text())
    with (HOME / "calls").open("a") as file:
        file.write(" ".join([PROGRAM, *WORDS]).replace("\n", " ") + "\n")
    globals()[PROGRAM](how)


def sbatch(how: dict[str, Any]) -> None:
    """Take a job, and answer as a site's does; of ``sbatch`` in how, each call uses up one word."""
    which = nth("sbatch") - 1
    fate = how["sbatch"][which] if which < len(how["sbatch"]) else "answers"
    if fate == "takes none, times out":
        fail(TIMED_OUT)
    if how["sbatch_fails"]:
        fail(how["sbatch_fails"])
    job = max([6, *(one["id"] for one in jobs())]) + 1
    comment = next(word.partition("=")[2] for word in WORDS if word.startswith("--comment="))
    output = HOME / f"slurm-{job}.out"
    output.write_text("hi\n")
    made = {"id": job, "comment": comment, "line": " ".join(["sbatch", *WORDS]), "at": time.time()}
    keep({**made, "runs": how["runs"], "exit": how["exit"], "output": str(output)})
    if fate == "takes it, times out":
        fail(TIMED_OUT)
    sys.stderr.write(how["stderr"])
    sys.stdout.write(how["stdout"].replace("{job}", str(job)))


def squeue(how: dict[str, Any]) -> None:
    """Show jobs until they have been over for a while."""
    shown = [one for one in jobs() if over(one) < how["squeue_forgets_after"]]
    names = [name.partition(":")[0] for name in WORDS[WORDS.index("-O") + 1].split(",")]
    show(shown, names, "\x1f")


def sacct(how: dict[str, Any]) -> None:
    """Show jobs that have been over for a while; until then as what is said of accounts that lag."""
    if how["sacct_fails"]:
        fail(how["sacct_fails"])
    late = how["sacct_lags"]
    shown = [one for one in jobs() if over(one) >= late or how["sacct_shows_meanwhile"]]
    names = WORDS[WORDS.index("-o") + 1].split(",")
    show([{**one, "stale": over(one) < late} for one in shown], names, "\x1f")


def scontrol(how: dict[str, Any]) -> None:
    """Tell the cluster's settings, or of a job."""
    if "config" in WORDS:
        sys.stdout.write("MinJobAge = 300 sec\nAccountingStorageType = accounting_storage/slurmdbd\n")
        return
    which = nth("scontrol -a show job") - 1
    if which < len(how["scontrol"]):
        time.sleep(how["scontrol"][which])
        if not how["scontrol"][which]:
            fail("slurm_load_jobs error: Socket timed out on send/recv operation")
    found = [one for one in jobs() if str(one["id"]) == WORDS[-1]]
    if not found:
        fail("slurm_load_jobs error: Invalid job id specified")
    for one in found:
        sys.stdout.write(
            f"JobId={one['id']} JobName=wrap\n   UserId=me({os.getuid()})\n   JobState={state(one)}\n"
            f"   Comment={one['comment']}\n   WorkDir={HOME}\n"
            f"   StdErr={one['output']}\n   StdOut={one['output']}\n"
        )


def scancel(how: dict[str, Any]) -> None:
    """End jobs."""
    for one in jobs():
        if str(one["id"]) in WORDS and over(one) < 0:
            keep({**one, "runs": time.time() - one["at"], "cancelled": True})


def jobs() -> list[dict[str, Any]]:
    """Give all jobs."""
    return [json.loads(path.read_text()) for path in (HOME / "jobs").iterdir()]


def keep(job: dict[str, Any]) -> None:
    """Write a job down, whole or not at all."""
    path = HOME / f"new-{os.getpid()}"
    path.write_text(json.dumps(job))
    path.rename(HOME / "jobs" / str(job["id"]))


def over(job: dict[str, Any]) -> float:
    """Give the seconds since a job's end; below 0 while it runs."""
    return float(time.time() - job["at"] - job["runs"])


def state(job: dict[str, Any]) -> str:
    """Give Slurm's word for how a job stands."""
    if over(job) < 0 or job.get("stale"):
        return "RUNNING"
    return "CANCELLED" if job.get("cancelled") else "FAILED" if job["exit"] else "COMPLETED"


def show(shown: list[dict[str, Any]], names: list[str], divider: str) -> None:
    """Print rows of the columns that were asked for."""
    for job in shown:
        start, end = stamp(job["at"]), stamp(job["at"] + job["runs"])
        ended = state(job) != "RUNNING"
        values = {
            "JobArrayID": job["id"], "JobID": job["id"], "State": state(job), "Reason": "None",
            "SubmitTime": start, "Submit": start, "StartTime": start, "Start": start,
            "EndTime": end, "End": end if ended else "Unknown", "Partition": "main", "NodeList": "n1",
            "exit_code": job["exit"] << 8, "ExitCode": f"{job['exit']}:0", "RestartCnt": 0,
            "Comment": job["comment"], "User": "me", "SubmitLine": job["line"],
            "StdOut": job["output"], "StdErr": job["output"],
        }  # fmt: skip
        sys.stdout.write("".join(f"{values[name]}{divider}" for name in names) + "\n")


def stamp(at: float) -> str:
    """Print a time as Slurm's programs do."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))


def nth(begin: str) -> int:
    """Say which call of its kind this is."""
    return sum(line.startswith(begin) for line in (HOME / "calls").read_text().splitlines())


def fail(said: str) -> None:
    """End as a program of Slurm's that could not do it."""
    sys.exit(f"{PROGRAM}: error: {said}")


main()

"""What sbatch's answer means: a job, a refusal, or nothing that one could rely on. Pure.

Slurm's own client and controller word these sentences; a site's plug-ins and wrappers may add lines before and after.
What is not recognized is `Verdict.UNCLEAR`, never a refusal: a failed sbatch has often submitted its job.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What to do after an sbatch that named no job."""

    #: there is no job, and the same command would be refused again: the task ends as submit_failed
    REFUSED = "refused"
    #: there is no job; the site has no room or no controller right now: try again later
    LATER = "later"
    #: there may be a job: look for its marker before anything else
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The job that sbatch submitted."""

    job: int
    cluster: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """An sbatch that named no job."""

    verdict: Verdict
    #: sbatch's own words in one line, without its name in front
    reason: str
    #: unclear only because this sentence is not known here, as one of a site's plug-in: where there is surely no job,
    #: and it is said again, it is a refusal
    unknown: str | None = None


_PARSABLE = re.compile(r"(\d+)(?:;(\S+))?")
_SPOKEN = re.compile(r"Submitted batch job (\d+)(?: on cluster (\S+))?")
_PREFIX = re.compile(r"^\S*sbatch: (?:(?:error|fatal): )?")
_SUBMISSION = "Batch job submission failed: "

#: what the controller, or the way to it, says behind `_SUBMISSION`
_LATER = (
    "Unable to contact slurm controller (connect failure)",
    "Resource temporarily unavailable",
    "Slurm temporarily unable to accept job",
    "Unable to create job record, try again",
    "I/O error writing script/environment to file",
    "Protocol authentication error",
    "Slurm backup controller in standby mode",
    "Controller is in standby mode, try a different controller",
    "Requested operation is presently disabled",
    "System submissions disabled",
    "Unable to connect to database",
)
_REFUSED = (
    "Access/permission denied",
    "Access denied to requested reservation",
    "Active features not subset of available features",
    "Burst Buffer permission denied",
    "Burst Buffer request invalid",
    "Burst Buffer resource limit exceeded",
    "CPU count specification invalid",
    "Circular job dependency",
    "Duplicate generic resource (gres) specification",
    "Duplicate job id",
    "Environment is missing in job",
    "Job --batch option is invalid",
    "Job dependency problem",
    "Job script not specified",
    "Job size specification needs to be provided",
    "Memory required by task is not available",
    "More processors requested than permitted",
    "Multiple partition job request not supported",
    "No partition specified or system default partition",
    "Node count specification invalid",
    "Only batch jobs are accepted or processed",
    "Pathname of a file, directory or other parameter too long",
    "Requested GRES option unsupported by configured SelectType plugin",
    "Requested more tasks than available processors",
    "Requested node configuration is not available",
    "Requested nodes not in this partition",
    "Requested operation not supported on this system",
    "Requested partition configuration not available now",
    "Requested reservation is invalid",
    "Requested reservation not usable now",
    "Requested time limit is invalid",
    "Required node not available",
    "Required partition not available",
    "Task count specification invalid",
    "Task distribution specification invalid",
    "Time limit specification required, but not provided",
    "User's group not permitted to use this partition",
)
#: "Invalid partition name specified", "Invalid qos specification", "Invalid account or account/partition combination…"
_REFUSED_KIND = re.compile(r"Invalid \S")
#: said with the name of the limit on a line of its own. One on how many jobs there may be passes, one on a job does not
_POLICY = "Job violates accounting/QOS policy"
_LIMIT = re.compile(r"(?:QOS|Assoc)\w+")

#: sbatch ends before it asks the controller, on what it finds in the command line or in the script
_OWN_WORDS = re.compile(
    r"[Ii]nvalid |unrecognized |requires an argument|doesn't allow an argument|is ambiguous|is not a valid"
    r"|Unable to open file|Could not open |Batch script |look like a batch script|NULL character|not permitted with"
    r"|Unexpected `|Unmatched `|known by database"
)
#: exit code of that kind of error alone
_OPTION_ERROR = 255
#: it found no cluster to ask, or could not say who asks
_NOBODY_THERE = re.compile(
    r"establish a configuration source|Munge encode failed|problem talking to the database"
)
#: the way to the controller has failed, which says nothing about the job
_ON_THE_WAY = re.compile(
    r"timed out|timeout|failure|[Cc]onnection|Connect|Zero Bytes|Insane message|Header lengths|[Tt]ransport"
    r"|Unexpected message|Protocol|No route|unreachable|[Tt]ry again|[Tt]emporar"
)


def read(stdout: str, stderr: str, returncode: int | None) -> Accepted | Failed:
    """Tell what came of an sbatch; `returncode` None: it was killed, or did not end in time.

    A job that it names counts whatever its exit code (with ``--wait`` that is the job's own).
    """
    if job := _job(stdout):
        return job
    lines = [_PREFIX.sub("", line).strip() for line in stderr.splitlines()]
    lines = [line for line in lines if line]
    reason = "; ".join(lines) or "sbatch named no job, or several"
    if not returncode or returncode < 0:
        return Failed(Verdict.UNCLEAR, reason)
    for line in reversed(lines):
        if line.startswith(_SUBMISSION):
            verdict = _controller(line.removeprefix(_SUBMISSION), lines)
            return Failed(verdict, reason, _unknown(verdict, line))
    if any(_NOBODY_THERE.search(line) for line in lines):
        return Failed(Verdict.LATER, reason)
    refused = returncode == _OPTION_ERROR or any(_OWN_WORDS.search(line) for line in lines)
    verdict = Verdict.REFUSED if refused else Verdict.UNCLEAR
    return Failed(verdict, reason, _unknown(verdict, lines[-1]) if lines else None)


def _unknown(verdict: Verdict, line: str) -> str | None:
    return line if verdict is Verdict.UNCLEAR and not _ON_THE_WAY.search(line) else None


def _job(stdout: str) -> Accepted | None:
    """Find the job that sbatch names, on a line of its own whatever stands around it; None where several are named."""
    for pattern in (_PARSABLE, _SPOKEN):
        lines = (pattern.fullmatch(line.strip()) for line in stdout.splitlines())
        named = {Accepted(int(found[1]), found[2]) for found in lines if found}
        if named:
            return named.pop() if len(named) == 1 else None  # the marker tells which it is
    return None


def _controller(said: str, lines: list[str]) -> Verdict:
    if said.startswith(_POLICY):
        limits = [line for line in lines if _LIMIT.fullmatch(line)]
        passing = not limits or any("Submit" in limit for limit in limits)
        return Verdict.LATER if passing else Verdict.REFUSED
    if said.startswith(_LATER):
        return Verdict.LATER
    if said.startswith(_REFUSED) or _REFUSED_KIND.match(said):
        return Verdict.REFUSED
    return Verdict.UNCLEAR

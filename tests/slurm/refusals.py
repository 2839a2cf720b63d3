"""The rows about what sbatch refuses: no job, and a task that ends as submit_failed with sbatch's code and words."""

from __future__ import annotations

from tests.slurm.fates import Fate

from qme.contracts.tasks import Outcome

WRAP = ("--wrap", "true")
#: how the controller's refusals begin
BJSF = "Batch job submission failed: "
HELP = '; Try "sbatch --help" for more information'


def refused(name: str, reason: str, *words: str, code: int = 1, script: str = "") -> Fate:
    """An sbatch that submits nothing."""
    return Fate(name, words, Outcome.SUBMIT_FAILED, code, reason=reason, script=script)


REFUSALS = [
    refused("bad-partition", f"invalid partition specified: nosuch; {BJSF}Invalid partition name specified", "-p", "nosuch", *WRAP),
    refused("drained-partition", f"{BJSF}Required partition not available (inactive or drain)", "-p", "drained", *WRAP),
    refused("inactive-partition", f"{BJSF}Required partition not available (inactive or drain)", "-p", "inactive", *WRAP),
    refused(
        "too-much-memory-asked",
        f"Memory specification can not be satisfied; {BJSF}Requested node configuration is not available",
        "--mem=100G", *WRAP,
    ),
    refused("bad-dependency", f"{BJSF}Job dependency problem", "-d", "afterok:x", *WRAP),
    refused("bad-feature", f"{BJSF}Invalid feature specification", "-C", "nosuch", *WRAP),
    refused("bad-node", f"{BJSF}Invalid node name specified", "-w", "nosuch", *WRAP),
    refused("bad-array", f"{BJSF}Invalid job array specification", "-a", "9-1", *WRAP),
    refused("array-too-large", f"{BJSF}Invalid job array specification", "-a", "0-5001", *WRAP),
    refused("bad-gres", "Invalid generic resource (gres) specification", "--gres=nosuch", *WRAP),
    refused("bad-license", f"{BJSF}Invalid license specification", "-L", "nosuch", *WRAP),
    refused("bad-reservation", f"{BJSF}Requested reservation is invalid", "--reservation=nosuch", *WRAP),
    refused("bad-time-min", f"{BJSF}Invalid time-min specification (exceeds job's time or other limits)", "-t5", "--time-min=9", *WRAP),
    refused("no-tasks", 'Invalid numeric value "0" for --ntasks.', "-n", "0", *WRAP),
    refused("bad-time", "Invalid --time specification", "-t", "soon", *WRAP, code=255),
    refused("bad-option", f"unrecognized option '--nosuch'{HELP}", "--nosuch", *WRAP, code=255),
    refused("bad-letter", f"invalid option -- 'Z'{HELP}", "-Z", *WRAP, code=255),
    refused("no-value", f"option requires an argument -- 'p'{HELP}", "-p", code=255),
    refused("value-too-many", f"option '--hold' doesn't allow an argument{HELP}", "--hold=1", *WRAP, code=255),
    refused("ambiguous", "option '--co=1' is ambiguous; possibilities: '--comment' '--container' '--context' '--contiguous' '--constraint' "
        f"'--core-spec' '--cores-per-socket'{HELP}", "--co=1", *WRAP, code=255),
    refused("bad-nodes", '"x" is not a valid node count', "-N", "x", *WRAP, code=255),
    refused("no-environment-file", "Could not open user environment file /no/such/file", "--export-file=/no/such/file", *WRAP),
    refused(
        "bad-cluster",
        "No cluster 'nosuch' known by database.; 'nosuch' can't be reached now, or it is an invalid entry for --cluster.  "
        "Use 'sacctmgr list clusters' to see available clusters.",
        "-M", "nosuch", *WRAP),
    refused("arguments-to-wrap", "Script arguments not permitted with --wrap option", *WRAP, "more"),
    refused("no-such-script", "Unable to open file nosuch.sh", "nosuch.sh"),
    refused("nothing", "Batch script is empty!"),
    refused("blank-script", "Batch script contains only whitespace!", script=" \n\n"),
    refused("no-first-line", "This does not look like a batch script.  The first; line must start with #! followed by the path to an "
        "interpreter.; For instance: #!/bin/sh", script="echo hello\n"),
    refused("null-in-script", "The Slurm controller does not allow scripts that; contain a NULL character '\\0'.", script="#!/bin/sh\n\0\n"),
    refused("dos-script", "Batch script contains DOS line breaks (\\r\\n); instead of expected UNIX line breaks (\\n).", script="#!/bin/sh\r\ntrue\r\n"),
    refused("bad-directive", "Invalid directive found in batch script: nosuch", script="#!/bin/sh\n#SBATCH -H nosuch\n", code=255),
    refused("open-quote", 'stdin: line 2: Unmatched `"` in [--comment="open]', script='#!/bin/sh\n#SBATCH --comment="open\n'),
    refused("bad-option-in-script", f"unrecognized option '--nosuch'{HELP}", script="#!/bin/sh\n#SBATCH --nosuch\n", code=255),
]  # fmt: skip

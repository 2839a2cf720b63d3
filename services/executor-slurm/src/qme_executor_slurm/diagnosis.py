"""What `qme doctor` says of Slurm: from what its programs answered to checks. Pure; `checks` asks them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qme.executor import Check

#: what is asked of Slurm; without the first there is nothing to do for a worker here
PROGRAMS = ("sbatch", "squeue", "scontrol", "scancel", "sacct")
_UNCONFIGURED = "establish a configuration source"
#: values of AccountingStorageEnforce with which limits of a QOS hold
_ENFORCING = frozenset({"limits", "qos", "safe", "all"})


def clients(version: str, missing: Sequence[str]) -> Check:
    """Tell of Slurm's programs, sbatch's own version given."""
    if missing == ["sacct"]:
        return Check("clients", "degraded", f"{version}, without sacct: " + _forgotten("ends as lost"))
    if missing:
        return Check("clients", "problem", f"{version}, but there is no {', '.join(missing)} on PATH")
    return Check("clients", "ok", f"{version}: {', '.join(PROGRAMS)}")


def no_clients() -> Check:
    """Tell that sbatch is not installed."""
    return Check(
        "clients", "absent", "there is no sbatch here; sbatch commands are run by workers of other hosts"
    )


def no_version(said: str) -> Check:
    """Tell of an sbatch that does not even say its version."""
    if _UNCONFIGURED in said:
        text = "Slurm's programs are here, but know of no cluster: there is no slurm.conf; SLURM_CONF may name one"
        return Check("clients", "absent", text)
    return Check("clients", "problem", f"sbatch --version: {said}")


def controller(trouble: str | None, seconds: float) -> Check:
    """Tell whether a controller answers `scontrol ping`."""
    if trouble is None:
        return Check("controller", "ok", f"answered in {seconds * 1000:.0f} ms")
    text = (
        f"{trouble.rstrip('. *')}. New tasks wait and are submitted when it is back; those in Slurm keep the state "
        "they were last seen in, and end as Slurm then says"
    )
    return Check("controller", "problem", text)


def limits(config: Mapping[str, str], pause: float) -> Check:
    """Tell of the cluster's limits; `pause`: seconds between two looks at the jobs."""
    age = config.get("MinJobAge", "?")
    text = (
        f"{config.get('MaxJobCount', '?')} jobs at a time, each element of an array counts; array elements below "
        f"{config.get('MaxArraySize', '?')}; an ended job is remembered for {age}"
    )
    number = age.split()[0]
    if number.isdecimal() and 0 < int(number) < 2 * pause:
        return Check(
            "limits", "degraded", f"{text}, and looked at every {pause:g} s: accounting has to tell its end"
        )
    return Check("limits", "ok", text)


def accounting(config: Mapping[str, str], trouble: str | None, seconds: float) -> Check:
    """Tell whether sacct answers."""
    if "slurmdbd" not in config.get("AccountingStorageType", "slurmdbd"):
        return Check(
            "accounting", "degraded", "this cluster keeps no accounts: " + _forgotten("ends as lost")
        )
    if trouble is None:
        return Check("accounting", "ok", f"answered in {seconds * 1000:.0f} ms")
    return Check("accounting", "degraded", f"{trouble}. Until it answers, " + _forgotten("waits for it"))


def submit_limits(config: Mapping[str, str], rows: str | None) -> Check:
    """Tell of limits on jobs by QOS; `rows` of sacctmgr: name, jobs submitted, jobs running, divided by ``|``."""
    if rows is None:
        return Check(
            "QOS", "degraded", "sacctmgr does not tell the limits; sbatch is tried again when it meets one"
        )
    enforced = _ENFORCING & {word.strip() for word in config.get("AccountingStorageEnforce", "").split(",")}
    found = []
    for line in rows.splitlines():
        name, submitted, running = (*line.split("|"), "", "")[:3]
        said = [f"{submitted} submitted"] if submitted else []
        said += [f"{running} running"] if running else []
        if said:
            found.append(f"{name}: at most {', '.join(said)} per user")
    if not found or not enforced:
        why = "no QOS limits a user's jobs" if not found else "this cluster enforces no limits of a QOS"
        return Check("QOS", "ok", why)
    return Check("QOS", "ok", f"{'; '.join(found)}; sbatch is tried again when it meets one")


def _forgotten(what: str) -> str:
    return f"endings are read from squeue alone, and a job that it has forgotten before it was seen to end {what}"

"""The file name patterns of sbatch's ``-o`` and ``-e``, expanded as slurmstepd does it. Pure.

scontrol expands the plain ones only (``%j``, ``%x``), and wrongly what is escaped (``%%j``); squeue shows a pattern as
it was given. So where scontrol leaves something, squeue's answer is expanded here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from qme_executor_slurm.parsers import Details

#: stands for the host that runs the batch script, which nobody knows before the job's start
HOST = "%N"
#: what scontrol has in the place of ``%a`` for an array whose elements have not been started
_NO_ELEMENT = str(2**32 - 2)
_SYMBOL = re.compile(r"%(\d*)([A-Za-z%])")
_ESCAPED = re.compile(r"\\(.?)")
#: digits that a number is padded to at most
_WIDEST = 10


def plain(path: str, details: Details, *, whole: bool) -> str | None:
    """Give what a path is by scontrol's answer, of an array as one (`whole`) with ``%a``; None: it does not tell."""
    if "%" in path or "\\" in path:
        return None
    if not whole:
        return path
    if _NO_ELEMENT in path:
        return path.replace(_NO_ELEMENT, "%a")
    number, element = (details.fields.get(name, "") for name in ("ArrayJobId", "ArrayTaskId"))
    by_default = f"/slurm-{number}_{element}.out"
    return f"{path.removesuffix(by_default)}/slurm-{number}_%a.out" if path.endswith(by_default) else None


def values(details: Details, host: str | None, *, whole: bool) -> dict[str, str]:
    """Give what the symbols stand for in one record's paths; `whole`: of an array as one, what all elements share."""
    fields = details.fields
    shared = {
        "A": fields.get("ArrayJobId", str(details.id.job)),
        "x": fields.get("JobName", ""),
        "u": fields.get("UserId", "").partition("(")[0],
    }
    if whole:
        return shared
    number = fields.get("JobId", str(details.id.job))
    element = fields.get("ArrayTaskId", _NO_ELEMENT)
    own = {"a": element, "j": number, "J": number, "n": "0", "t": "0", "s": "batch", "%": "%"}
    return {**shared, **own, **({"N": host} if host else {})}


def expand(pattern: str, meant: Mapping[str, str]) -> str:
    """Fill in a pattern; symbols without a value stay. One backslash anywhere keeps all of it as it is."""
    if "\\" in pattern:
        return _ESCAPED.sub(r"\1", pattern)

    def value(found: re.Match[str]) -> str:
        text = meant.get(found[2])
        if text is None:
            return found[0]
        return text.zfill(min(int(found[1] or 0), _WIDEST)) if text.isdecimal() else text

    return _SYMBOL.sub(value, pattern)

"""The actions of a Slurm task: what may be asked about its job, and done to it, by name. No following here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from qme.contracts.elements import numbers, ranges, unpack
from qme.contracts.tasks import TaskRecord
from qme.errors import InvalidRequest, NotFound
from qme.executor import Held, action
from qme_executor_slurm import locating, paths, pending, queries
from qme_executor_slurm.cancelling import Cancelling
from qme_executor_slurm.commands import NoAnswer, Slurm
from qme_executor_slurm.identity import own
from qme_executor_slurm.jobs import Job
from qme_executor_slurm.journal import Submitted
from qme_executor_slurm.outputs import Text, read
from qme_executor_slurm.parsers import DIVIDER, Details
from qme_executor_slurm.settings import SlurmSettings

#: names in the exported data, by stream
_FILES = {"stdout": "outputfile", "stderr": "errorfile"}


class SlurmActions:
    """Mixed into the executor."""

    slurm: Slurm
    cancelling: Cancelling
    settings: SlurmSettings

    @action()
    async def status(self, held: Held) -> Any:
        """Show the job's row in accounting (sacct); the setting sacct_format names the columns."""
        job, clusters = _job(held)
        columns = [name.strip() for name in self.settings.sacct_format.split(",") if name.strip()]
        argv = queries.sacct([int(job)], held.record.created, clusters, columns, uid=os.getuid())
        try:
            text = await self.slurm.told(argv)
        except NoAnswer as error:
            return {"jobid": job, **_recorded(held.record), "note": f"sacct: {error.message}"}
        rows = [line.split(DIVIDER)[: len(columns)] for line in text.split(f"{DIVIDER}\n") if line]
        found = [dict(zip(columns, row, strict=False)) for row in rows if len(row) == len(columns)]
        if not found:
            return {"jobid": job, **_recorded(held.record), "note": "accounting does not show it yet"}
        return found[0] if len(found) == 1 else found

    @action()
    async def output(self, held: Held, element: str | None = None) -> str:
        """Print the end of the job's output file; element=N: of that element of an array."""
        return _said(await self._read(held, element, "stdout"))

    @action()
    async def error(self, held: Held, element: str | None = None) -> str:
        """Print the end of the job's error file; element=N: of that element of an array."""
        return _said(await self._read(held, element, "stderr"))

    @action()
    async def outputs(self, held: Held, element: str | None = None) -> dict[str, Any]:
        """Give both files' ends as one JSON object, by lines; null where there is no file, and why."""
        found = {
            "output": await self._read(held, element, "stdout"),
            "error": await self._read(held, element, "stderr"),
        }
        answer: dict[str, Any] = {}
        for name, text in found.items():
            answer[name] = None if text.text is None else text.text.splitlines(keepends=True)
            answer[f"{name}file"] = text.path
            if text.note:
                answer[f"{name}_note"] = text.note
        return answer

    @action()
    async def details(self, held: Held) -> Any:
        """Show all that the controller knows of the job (scontrol show job)."""
        found = await self._own(held)
        return found[0].fields if len(found) == 1 else [one.fields for one in found]

    @action()
    async def why(self, held: Held) -> list[str]:
        """Say why the job has not been started, in Slurm's own words, and when Slurm expects to start it."""
        return pending.waits([one.fields for one in await self._own(held)])

    @action(changes=True)
    async def hold(self, held: Held) -> str:
        """Keep the job from being started."""
        return await self._control(held, "hold")

    @action(changes=True)
    async def release(self, held: Held) -> str:
        """Let a held job be started."""
        return await self._control(held, "release")

    @action(changes=True)
    async def requeue(self, held: Held) -> str:
        """Have Slurm run the job again from its beginning, under the same id."""
        return await self._control(held, "requeue")

    @action(changes=True)
    async def cancel_elements(self, held: Held, elements: str) -> str:
        """End some elements of an array: elements=3-7,9; what became of them, the record tells."""
        job, clusters = _job(held)
        wanted = numbers(elements)
        if not _is_array(held.record.data):
            raise InvalidRequest(f"job {job} is no array")
        if held.record.ended:
            return "nothing was left to do"
        array = held.record.data["array"]
        known = {one.name for one in unpack(array)}
        if strangers := [
            number for number in wanted if str(number) not in known and not array.get("left_out")
        ]:
            raise NotFound(f"job {job} has no element {ranges(strangers)}")
        try:
            await self.cancelling.end(_followed(held), clusters, [f"{job}_[{ranges(wanted)}]"])
        except NoAnswer as error:
            raise InvalidRequest(f"Slurm could not be told to cancel: {error.message}") from error
        return f"asked Slurm to end {len(wanted)} of its elements"

    async def send(self, held: Held, name: str) -> str:
        """Send a signal to the job. Raises InvalidRequest, NotFound."""
        job, clusters = _job(held)
        try:
            await self._own(held)
            await self.slurm.told(queries.send(name, job, clusters))
        except NoAnswer as error:
            raise InvalidRequest(f"scancel --signal={name} {job}: {error.message}") from error
        return f"Slurm was told to send {name} to job {job}"

    async def _control(self, held: Held, verb: str) -> str:
        job, clusters = _job(held)
        if held.record.ended:
            raise InvalidRequest(f"{held.record.uid} has ended; `qme rerun` submits it anew")
        on = ["-M", clusters] if clusters else []
        try:
            await self._own(held)
            await self.slurm.told(["scontrol", *on, verb, job])
        except NoAnswer as error:
            raise InvalidRequest(f"scontrol {verb} {job}: {error.message}") from error
        return f"{verb}: job {job}"

    async def _own(self, held: Held) -> list[Details]:
        """Give scontrol's records of the task's job. Raises NotFound where its number is another job's by now."""
        job, clusters = _job(held)
        found = await self.slurm.details(job, clusters)
        if not found:
            raise NotFound(f"Slurm's controller does not know job {job} any more; try the action status")
        if len(own(_followed(held), found)) < len(found) or any(one.uid != os.getuid() for one in found):
            raise NotFound(f"job {job} in Slurm is another one than the task's by now; nothing was done")
        return found

    async def _read(self, held: Held, element: str | None, stream: str) -> Text:
        data = held.record.data
        standing = str(data.get("slurm_state") or held.record.status.value)
        if element is not None or _is_array(data):
            path = await self._element_path(held, element, stream)
        else:
            path = data.get(_FILES[stream])
        return await asyncio.to_thread(read, path, standing)

    async def _element_path(self, held: Held, element: str | None, stream: str) -> str | None:
        job, clusters = _job(held)
        if element is None:
            raise InvalidRequest(f"job {job} is an array: ask for one element's output, as in element=3")
        if not element.isdecimal():
            raise InvalidRequest(f"not an element: {element!r}")
        if found := await self.slurm.details(f"{job}_{element}", clusters):
            stdout, stderr = await locating.files(self.slurm, found[0], clusters)
            return stdout if stream == "stdout" else stderr
        pattern = held.record.data.get(_FILES[stream])
        if pattern is None:
            raise NotFound(f"Slurm's controller does not know {job}_{element} (any more)")
        return paths.expand(str(pattern), {"a": element})


def _job(held: Held) -> tuple[str, str | None]:
    """Give the job's id and clusters. Raises NotFound while there is none."""
    data = held.record.data
    job = str(data.get("jobid") or "")
    if not job.isdecimal():
        raise NotFound(f"{held.record.uid} has no job in Slurm" + ("" if held.record.ended else " yet"))
    return job, data.get("cluster")


def _is_array(data: Mapping[str, Any]) -> bool:
    """Tell whether it has numbered elements, each with files of its own; the jobs of a heterogeneous one have not."""
    array = data.get("array")
    return array is not None and all(one.name.isdecimal() for one in unpack(array))


def _followed(held: Held) -> Job:
    """Give the job as the record tells of it."""
    job, clusters = _job(held)
    times = held.record.data.get("submission") or {}
    at = times.get("at") or held.record.created.timestamp()
    submitted = Submitted(int(job), at, clusters, times.get("answered"))
    return submitted.followed((held.record.uuid, held.record.attempt))


def _recorded(record: TaskRecord) -> dict[str, Any]:
    return {
        "state": record.data.get("slurm_state"),
        "asked": datetime.now(UTC).isoformat(),
    }


def _said(text: Text) -> str:
    if text.text is None:
        raise NotFound(text.note)
    return f"[{text.note}]\n{text.text}" if text.note else text.text

"""The container executor: a task is one container, run to its end. How command lines are read is in `words`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from qme.contracts.tasks import Outcome
from qme.errors import InvalidRequest
from qme.executor import (
    Captured,
    Check,
    Executor,
    ExecutorSettings,
    Held,
    Result,
    Task,
    action,
    capture,
    option,
    plain_words,
)
from qme.executor.workplace import WorkplaceError, prepare, ready
from qme.settings import duration
from qme_executor_container import words
from qme_executor_container.words import DETACHED, Run

#: seconds that `qme doctor` gives an engine
_QUICK = 10.0


@dataclass(frozen=True, kw_only=True)
class ContainerSettings(ExecutorSettings):
    """Settings of the container executor."""

    stop_grace: float = option(
        10.0, duration(), "a container that is to end has this long before it is killed"
    )
    engine_timeout: float = option(60.0, duration(), "a question to the engine may take this long")


class ContainerExecutor(Executor[ContainerSettings]):
    """Runs containers by the engine that the command names."""

    name = "container"
    matchstring = r"^(\S*/)?((docker|podman)\s+run|(apptainer|singularity)\s+(run|exec))(\s|$)"
    version = "1"
    fields = ("image", "engine", "container", "returncode")
    settings_type = ContainerSettings

    async def execute(self, task: Task) -> Result:
        """Run the container, once, and look at it when its client has ended."""
        place = await ready(task, prepare)
        try:
            run = words.read(plain_words(task.spec), f"{task.spec.uuid}.{task.number}")
        except InvalidRequest as error:
            raise WorkplaceError(error.message) from None
        await task.update(engine=run.engine, image=run.image, container=run.name, pwd=str(place.cwd))
        ended = await task.run(
            run.argv, cwd=place.cwd, env=task.spec.env, stdin=place.stdin, timeout=task.spec.timeout
        )
        state = await self._settled(run)
        if run.remove:
            await self._ask(run, "rm", "--force", "--volumes", str(run.name))
        if state.get("OOMKilled"):
            return Result(
                ended.returncode, Outcome.OUT_OF_MEMORY, reason="the kernel ended it at its memory limit"
            )
        return Result(ended.returncode, reason=ended.error or state.get("Error") or None)

    async def cancel(self, task: Task) -> None:
        """End the container, which outlives its client, then the client."""
        run = _run_of(task.record.data)
        if run is not None:
            grace = f"{self.settings.stop_grace:.0f}"
            await self._ask(run, "stop", "--time", grace, str(run.name), within=self.settings.stop_grace)
        await task.end("cancel")

    @action()
    async def inspect(self, held: Held) -> Any:
        """Show the container as its engine knows it."""
        run = _run_of(held.record.data)
        if run is None:
            raise InvalidRequest("it has no container that its engine could show")
        shown = await self._ask(run, "container", "inspect", str(run.name))
        if shown.returncode:
            raise InvalidRequest(shown.stderr.decode(errors="replace").strip() or "it is gone")
        return json.loads(shown.stdout)[0]

    async def checks(self) -> list[Check]:
        """Ask the engines that are there."""
        found = []
        for engine in DETACHED:
            try:
                told = await capture(
                    [engine, "version", "--format", "{{.Server.Version}}"], _QUICK, _environment()
                )
            except OSError:
                continue
            if told.returncode or told.timed_out:
                found.append(Check(engine, "absent", f"{engine} is installed here, and no engine answers it"))
            else:
                found.append(Check(engine, "ok", told.stdout.decode(errors="replace").strip()))
        return found or [Check("engine", "absent", "neither docker nor podman is here")]

    async def _settled(self, run: Run) -> dict[str, Any]:
        """Make sure that the container has ended, whatever ended its client, and give how its engine saw it end."""
        if run.name is None:
            return {}
        shown = await self._ask(run, "container", "inspect", "--format", "{{json .State}}", run.name)
        if shown.returncode:
            return {}  # it was never made
        state: dict[str, Any] = json.loads(shown.stdout)
        if state.get("Running"):
            await self._ask(run, "kill", run.name)
        return state

    async def _ask(self, run: Run, *argv: str, within: float = 0.0) -> Captured:
        return await capture([run.argv[0], *argv], self.settings.engine_timeout + within, _environment())


def _environment() -> dict[str, str]:
    """The worker's own, without what is qme's: DOCKER_HOST and its kin say which engine is asked."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("QME_", "NATS_"))}


def _run_of(data: dict[str, Any]) -> Run | None:
    """Give what a record says of a container that has an engine of its own."""
    engine, name = data.get("engine"), data.get("container")
    return Run(engine, (engine,), None, name) if engine in DETACHED and name else None

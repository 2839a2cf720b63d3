"""The people of a chaos run: clients that submit and are hurt meanwhile, who cancel and rerun. Judges nothing."""

from __future__ import annotations

import asyncio
import json
import random
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from signal import SIGCONT, SIGKILL, SIGSTOP

from tests.chaos.plan import Client, Fate, Job, Kind, number_in
from tests.chaos.site import QME, Site

#: clients that submit at a time, and people who change something
AT_ONCE = 12
#: seconds between two looks for tasks that nobody knows of
SWEEP = 15.0
#: exit codes that say that nobody could be asked: of most commands, and of those that give a task's own code
UNREACHED = (5, 125)
#: the same of waiting, which may also have been too short
UNENDED = (*UNREACHED, 9)
#: seconds after which a client counts as hung: four times as long as it waits for an answer
HUNG = 120.0


class Load:
    """Brings jobs until enough ids were printed."""

    def __init__(self, site: Site, clients: Iterator[Client], seed: int) -> None:
        self._site = site
        self._clients = clients
        self._dice = random.Random(seed)  # noqa: S311 -- it is to be repeated
        self._log = (site.folder / "log" / "clients.log").open("ab")
        self._room = asyncio.Semaphore(AT_ONCE)
        self._changes = asyncio.Semaphore(AT_ONCE)
        self.jobs: dict[int, Job] = {}
        self.printed: set[str] = set()
        self.rerun: set[str] = set()  #: ids of which a client was told that they run once more
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []

    async def submit(self, people: asyncio.TaskGroup, wanted: int, seconds: float) -> None:
        """Have `wanted` ids printed, spread over so many seconds; give up when half as many more have passed.

        What clients still do when this returns, they do in the group `people`.
        """
        begin = time.monotonic()
        under_way: dict[asyncio.Task[None], int] = {}
        while len(self.printed) < wanted and (passed := time.monotonic() - begin) < 1.5 * seconds:
            brought = len(self.printed) + sum(jobs for task, jobs in under_way.items() if not task.done())
            if brought > wanted * min(passed / seconds, 1.0) or self._room.locked():
                await asyncio.sleep(0.05)
                continue
            client = next(self._clients)
            self.jobs |= {job.number: job for job in client.jobs}
            await self._room.acquire()
            under_way[people.create_task(self._bring(client, people))] = len(client.jobs)

    def close(self) -> None:
        """Close the clients' log."""
        self._log.close()

    # -- submitting --------------------------------------------------------------------------------------------------
    async def _bring(self, client: Client, people: asyncio.TaskGroup) -> None:
        try:
            ids = await (self._keyed(client) if client.kind is Kind.KEYED else self._list(client))
        finally:
            self._room.release()
        self.printed |= ids
        if client.kind in (Kind.CANCELLED, Kind.RACED) and ids:
            people.create_task(self._cancel(ids, client.patience))
        elif client.kind is Kind.RERUN and ids:
            people.create_task(self._rerun(ids, client.patience))

    async def _list(self, client: Client) -> set[str]:
        """Submit jobs as a list; what is not printed may be there or not, and is not submitted again."""
        path = self._site.folder / "lists" / f"{client.jobs[0].number}"
        path.write_text("".join(job.line(self._site.notes) + "\n" for job in client.jobs))
        ids, _ = await self._qme(("submit", *client.options, "--file", str(path)), client.fate)
        return set(ids)

    async def _keyed(self, client: Client) -> set[str]:
        """Submit one job with a key until its id is printed, now and then once more."""
        (job,) = client.jobs
        words = ("submit", "--key", f"job {job.number}", *client.options, *job.words(self._site.notes))
        ids, fate = set[str](), client.fate
        tries = self._dice.choice((1, 1, 2))
        while tries > 0:
            printed, code = await self._qme(words, fate)
            ids |= set(printed)
            fate = None
            if code == 0:
                tries -= 1
            if self._is_over(f"{' '.join(words)}: {code}", code):
                break
        if len(ids) > 1:
            self.problems.append(f"key of job {job.number} gave {', '.join(sorted(ids))}")
        return ids

    # -- changing ----------------------------------------------------------------------------------------------------
    async def _cancel(self, ids: set[str], patience: float) -> None:
        await asyncio.sleep(patience)
        async with self._changes:
            await self.surely("cancel", *sorted(ids))

    async def _rerun(self, ids: set[str], patience: float) -> None:
        await asyncio.sleep(patience)
        async with self._changes:
            await self.surely("wait", "--timeout", "60", *sorted(ids), good=lambda code: code not in UNENDED)
            fate = Fate(SIGKILL, self._dice.uniform(0.3, 1.5)) if self._dice.random() < 0.3 else None
            await self._qme(("rerun", *sorted(ids)), fate)
            # Whom it did not reach is asked again; the others may run, and are not to run a third time.
            records, _ = await self._qme(("ls", "--jsonl", "--limit", "0", *sorted(ids)), None)
            again = [one["uid"] for one in map(json.loads, records) if one["attempt"] == 1]
            if again:
                await self.surely("rerun", *again)
            self.rerun |= set(again)

    async def sweep(self) -> None:
        """Cancel, for ever, what never ends by itself and whose id nobody was told: it would take all slots."""
        while True:
            await asyncio.sleep(SWEEP)
            lines, _ = await self._qme(("ls", "--status", "running", "--limit", "0", "--jsonl"), None)
            running = {
                one["uid"]: self.jobs.get(number_in(one["command"]) or 0) for one in map(json.loads, lines)
            }
            untold = [uid for uid, job in running.items() if job and job.kind is Kind.CANCELLED]
            untold = [uid for uid in untold if uid not in self.printed]
            if untold:
                await self._qme(("cancel", *untold), None)

    async def surely(self, *words: str, good: Callable[[int], bool] = lambda code: code == 0) -> None:
        """Run a command until its code is good."""
        for _ in range(20):
            _, code = await self._qme(words, None)
            if good(code):
                return
            await asyncio.sleep(0.5)
        self.problems.append(f"qme {' '.join(words)[:100]} never succeeded: {code}")

    def _is_over(self, what: str, code: int) -> bool:
        """A refusal that repeating can't mend is a mistake of qme's."""
        if code in (0, -SIGKILL, *UNREACHED):
            return False
        self.problems.append(f"qme {what}")
        return True

    # -- processes ---------------------------------------------------------------------------------------------------
    async def _qme(self, words: Sequence[str], fate: Fate | None) -> tuple[list[str], int]:
        """Run a client to its end, whatever that is; give the lines that it printed and its code."""
        process = await asyncio.create_subprocess_exec(
            QME,
            *words,
            cwd=self._site.folder,
            env={**self._site.env, "QME_HOST": "client", "QME_REQUEST_TIMEOUT": "30s"},
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=self._log,
        )
        first_line = asyncio.Event()
        hurting = asyncio.create_task(self._hurt(process, fate, first_line)) if fate else None
        try:
            async with asyncio.timeout(HUNG):
                lines = await self._lines(process, first_line)
                return lines, await process.wait()
        except TimeoutError:
            self.problems.append(f"qme {' '.join(words)[:100]} hung")
            return [], -SIGKILL
        finally:
            if hurting is not None:
                hurting.cancel()
                await asyncio.gather(hurting, return_exceptions=True)
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def _lines(self, process: Process, first_line: asyncio.Event) -> list[str]:
        assert process.stdout is not None
        lines = []
        while (line := await process.stdout.readline()).endswith(b"\n"):
            lines.append(line.decode().rstrip("\n"))
            first_line.set()
        return lines

    async def _hurt(self, process: Process, fate: Fate, first_line: asyncio.Event) -> None:
        if fate.after is None:
            await first_line.wait()
        else:
            await asyncio.sleep(fate.after)
        if process.returncode is not None:
            return
        process.send_signal(fate.signal)
        self.counts["client killed" if fate.signal is SIGKILL else "client stopped"] += 1
        if fate.signal is SIGSTOP:
            try:
                await asyncio.sleep(fate.length)
            finally:
                with suppress(ProcessLookupError):
                    process.send_signal(SIGCONT)

"""What only operators do: forget, approve, pause and resume executors. No subscriptions, and no check of who asks."""

from __future__ import annotations

from dataclasses import dataclass, field

from qme.bus.kv import Bucket, Entry, Removed
from qme.contracts import subjects
from qme.contracts.executors import Approval, Definition, Pause
from qme.contracts.messages import ExecutorRequest, PauseExecutor
from qme.contracts.subjects import approval_key, definition_key, pause_key, token
from qme.errors import InvalidRequest, NoExecutorMatches
from qme_submitter.buckets import Buckets
from qme_submitter.offers import shown
from qme_submitter.patterns import problem
from qme_submitter.registry import Place, Registry

#: characters of the reason for a pause
LONGEST_REASON = 500


@dataclass
class Admin:
    """Changes what is known of executors."""

    buckets: Buckets
    registry: Registry
    _definitions: Bucket[Definition] = field(init=False)
    _approvals: Bucket[Approval] = field(init=False)
    _pauses: Bucket[Pause] = field(init=False)

    def __post_init__(self) -> None:
        self._definitions = Bucket(self.buckets.bus, subjects.BUCKET_EXECUTORS, Definition)
        self._approvals = Bucket(self.buckets.bus, subjects.BUCKET_EXECUTORS, Approval)
        self._pauses = Bucket(self.buckets.bus, subjects.BUCKET_EXECUTORS, Pause)

    async def forget(self, request: ExecutorRequest) -> None:
        """Remove a definition, its approval and its consumer; refused while a worker lives or a task waits or runs."""
        executor, pool = await self._place(request)
        where = f"executor {executor} in pool {shown(pool)}"
        alive = self.registry.online()[executor, pool]
        if alive:
            raise InvalidRequest(f"{where} has {alive} living worker(s); stop them first")
        unended = [
            seen.value.uid
            async for seen in self.buckets.records.scan(f"{executor}.{pool}.*")
            if isinstance(seen, Entry) and not seen.value.ended
        ]
        if unended:
            raise InvalidRequest(
                f"{where} has {len(unended)} task(s) that have not ended, such as {unended[0]}"
            )
        for bucket, key in (
            (self._definitions, definition_key(executor, pool)),
            (self._approvals, approval_key(executor, pool)),
            (self._pauses, pause_key(executor, pool)),
        ):
            entry = await bucket.look(key, leader=True)
            if entry is not None:
                await bucket.delete(key, entry.revision)
        await self.buckets.bus.remove_consumer(subjects.TASKS, subjects.consumer(executor, pool))
        await self.registry.refresh(full=True)

    async def approve(self, request: ExecutorRequest, by: str) -> None:
        """Let a shared pool's definition, as it stands now, take its users' commands."""
        executor, pool = await self._place(request)
        entry = await self._definitions.get(definition_key(executor, pool), leader=True)
        if entry is None:
            raise NoExecutorMatches(f"there is no executor {executor} in pool {shown(pool)}")
        definition = entry.value
        if definition.personal:
            raise InvalidRequest(f"pool {shown(pool)} is its owner's own and needs no approval")
        refused = problem(definition.matchstring) if definition.matchstring is not None else None
        if refused is not None:
            raise InvalidRequest(
                f"the pattern {definition.matchstring!r} of {executor} can't be used: {refused}"
            )
        approval = Approval(
            matchstring=definition.matchstring,
            priority=definition.priority,
            account=definition.account,
            users=definition.users,
            script=definition.script,
            by=by,
            at=self.buckets.clock(),
        )
        await self._approvals.put(approval_key(executor, pool), approval)
        await self.registry.refresh()

    async def pause(self, request: PauseExecutor, by: str, *, drain: bool) -> None:
        """Have the workers of an executor in a pool take nothing new; a later word replaces an earlier one."""
        reason = request.reason.strip()
        if not reason or len(reason) > LONGEST_REASON or not reason.isprintable():
            raise InvalidRequest(
                f"a pause needs a reason for those who wait: one line of at most {LONGEST_REASON} characters"
            )
        executor, pool = await self._place(request)
        word = Pause(executor=executor, pool=pool, reason=reason, by=by, at=self.buckets.clock(), drain=drain)
        await self._pauses.put(pause_key(executor, pool), word)
        await self.registry.refresh()

    async def resume(self, request: ExecutorRequest) -> None:
        """Take a pause back; nothing where there is none."""
        executor, pool = await self._place(request)
        entry = await self._pauses.look(pause_key(executor, pool), leader=True)
        if entry is not None and not isinstance(entry, Removed):
            await self._pauses.delete(pause_key(executor, pool), entry.revision)
        await self.registry.refresh()

    async def _place(self, request: ExecutorRequest) -> Place:
        await self.registry.refresh()
        pools = self.registry.pools(request.executor)
        if not pools:
            raise NoExecutorMatches(f"there is no executor {request.executor!r}")
        if request.pool is None:
            if len(pools) > 1:
                names = ", ".join(shown(pool) for pool in pools)
                raise InvalidRequest(
                    f"executor {request.executor} has several pools; choose one with --pool: {names}"
                )
            return request.executor, pools[0]
        for pool in pools:
            if pool in (request.pool, token(request.pool)):
                return request.executor, pool
        names = ", ".join(shown(pool) for pool in pools)
        raise NoExecutorMatches(
            f"executor {request.executor} has no pool {request.pool!r}; its pools: {names}"
        )

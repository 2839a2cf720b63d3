"""The worker: runs one executor's tasks. Each module is one step in the life of an attempt.

service     the process: puts the parts together, runs them, leaves when told to
connection  reaches the bus, and waits until a submitter has set it up
presence    says that the executor and this worker exist
claim       a queue message becomes an attempt of this worker's, or is dropped
adopt       takes up what this worker held before it was restarted
takeover    takes up what another worker of the pool held that has fallen silent
predecessors  whether those can still act upon it
attempt     an attempt from the claim to its final record; what an executor is handed
executing   what its executor comes to
command     its one command: started at most once, waited for, ended
progress    what it exports while it runs
following   files of a scheduler's job, taken for its output
logs        its output, from the spool to the bus
verdict     how it ended (pure)
export      what of it has room in a record (pure but for reading the spool)
actions     answers requests to this worker
records     every write of a record: compare-and-set
"""

from qme.worker.service import Orders, run_worker, work

__all__ = ["Orders", "run_worker", "work"]

"""The Slurm executor: submits with ``sbatch``, exactly one job for each attempt, and follows the job to its end.

executor    the class: wires the rest
settings    every wait of it
submitting  from a task to its one job; `journal` is its memory on disk, `search` its eyes
inheriting  what a worker left from whom a task was taken over
call        the sbatch of a task: its folder, script and words
poller      the one loop that asks Slurm about all jobs
metrics     qme_slurm_* on the worker's page
cancelling  ends jobs, our own ones only
actions     what may be asked about a job, and done to it; `locating` finds its files, `outputs` reads them
checks      what `qme doctor` looks at; `diagnosis` words it
commands    runs Slurm's programs, and nothing else does

Pure, and tested without Slurm: sbatch and directives (the command line), answers (of sbatch), queries and
parsers (of squeue, sacct, scontrol), paths, jobids, identity, states, jobs, polling, pace, lookup, exports,
diagnosis.

Never here: anything that reaches the bus or the client; an executor sees only ``qme.executor`` and what it shows.
"""

from qme_executor_slurm.executor import SlurmExecutor
from qme_executor_slurm.settings import SlurmSettings

__all__ = ["SlurmExecutor", "SlurmSettings"]

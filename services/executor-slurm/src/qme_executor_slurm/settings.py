"""The executor's settings: every wait of it is one. Only the table; nothing is read here."""

from __future__ import annotations

from dataclasses import dataclass

from qme.executor import ExecutorSettings, option, optional
from qme.settings import NAMES, TEXT, duration, integer
from qme_executor_slurm.pace import Limits
from qme_executor_slurm.polling import Rules


@dataclass(frozen=True, kw_only=True)
class SlurmSettings(ExecutorSettings):
    """Settings of the Slurm executor."""

    slots: int = option(1000, integer(1, 100_000), "jobs that one worker has in Slurm at a time")
    sacct_format: str = option(
        "jobid,jobname,partition,alloccpus,elapsed,state,exitcode", TEXT, "columns of the action status"
    )

    # -- what is refused, beside the rules of every executor
    options: tuple[str, ...] | None = optional(
        NAMES,
        "options of sbatch, by their long names, that tasks may use; unset: all, beside allow not uid, wrap, …",
    )
    options_deny: tuple[str, ...] | None = optional(NAMES, "options of sbatch that tasks may not use")

    # -- submitting
    sbatch_parallel: int = option(4, integer(1, 64), "sbatch commands that run at a time")
    sbatch_timeout: float = option(
        20.0, duration(), "an sbatch is killed after this, and its job looked for; keep it below the lease"
    )
    wait_timeout: float = option(5.0, duration(), "the same for sbatch --wait, which names its job at once")
    retry_first: float = option(
        10.0, duration(), "pause before an sbatch that met a site's limit is repeated"
    )
    retry_longest: float = option(300.0, duration(), "that pause doubles up to this")
    lookup_span: float = option(
        120.0, duration(), "a job that may have been submitted is looked for again after this, then submitted"
    )

    # -- following
    command_timeout: float = option(
        60.0, duration(), "squeue, sacct, scontrol and scancel are given this long"
    )
    poll_first: float = option(10.0, duration(), "first pause between two looks at Slurm")
    poll_longest: float = option(60.0, duration(), "pause between two looks when nothing changes")
    poll_floor: float = option(5.0, duration(), "never look more often")
    poll_backoff: float = option(600.0, duration(), "longest pause while Slurm does not answer")
    young: float = option(120.0, duration(), "a job may be in no list for this long after its submission")
    lost_after: float = option(600.0, duration(), "a job that no list shows is lost after this")
    settle: float = option(
        86_400.0, duration(), "an ending that accounting does not tell is waited for so long"
    )
    requeue_wait: float = option(
        300.0, duration(), "Slurm may run a job again for this long after a preemption or node failure"
    )

    # -- output
    output_first: float = option(
        0.5, duration(), "a job's output file is looked at this often while it grows"
    )
    output_longest: float = option(10.0, duration(), "and this often while it does not")

    def limits(self) -> Limits:
        """Give the poller's intervals."""
        return Limits(
            first=self.poll_first,
            longest=self.poll_longest,
            floor=self.poll_floor,
            longest_after_failures=self.poll_backoff,
        )

    def rules(self) -> Rules:
        """Give how long the poller believes what."""
        return Rules(
            young=self.young, lost_after=self.lost_after, settle=self.settle, requeue=self.requeue_wait
        )

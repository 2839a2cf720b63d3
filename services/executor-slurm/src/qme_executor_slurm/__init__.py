"""The Slurm executor's package. The executor itself is not written yet, so no entry point names it.

What is here is pure: builders of argument lists (`sbatch`, `queries`), readers of what Slurm says (`answers`,
`parsers`, `states`) and the decisions of a poller (`polling`, `pace`, `lookup`). The executor that submits with
``sbatch`` exactly once per attempt and follows the job to its end will be a thin class on top. Never here: anything
that reaches the bus or the client; an executor sees only ``qme.executor``.
"""

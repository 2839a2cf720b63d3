"""The Slurm executor's package; it holds no code yet, so no entry point names it and no worker can run it.

Here will live the executor that submits with ``sbatch`` exactly once per attempt and follows the job to its
end: pure builders of argument lists, pure parsers of Slurm's tables, and a thin class on top. Never here:
anything that reaches the bus or the client; an executor sees only ``qme.executor``.
"""

"""What a row of the table of Slurm tasks is: an sbatch command line, what is done to its job, and what must come of it.

Data only, no rows: those stand in `table`, are run by `test_fates` and printed by `page`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from qme.contracts.tasks import Outcome

#: what is done to a job once it stands so
Act = Literal[
    "",
    "qme cancel, waiting",
    "qme cancel, running",
    "scancel, waiting",
    "scancel, running",
    "qme exec release, waiting",
    "scontrol requeue, running",
    "node set down, running",
]


@dataclass(frozen=True, slots=True)
class Fate:
    """One sbatch and its end.

    Words and expected texts may hold ``{job}`` (the job's number), ``{user}``, ``{work}`` (the folder it is submitted
    in), ``{time}``, and in words ``{job of NAME}``: the job of another row, which has ended before.
    """

    name: str
    words: tuple[str, ...]
    outcome: Outcome
    #: exit code
    code: int
    #: Slurm's own word; None: there is no job
    state: str | None = None
    #: the script on sbatch's stdin
    script: str = ""
    #: qme's own options
    options: tuple[str, ...] = ()
    act: Act = ""
    #: the reason while it waits for what is done to it
    waits: str = ""
    #: the reason in the end: why it failed, what sbatch said
    reason: str = ""
    #: what it wrote, as qme has it
    output: str = ""
    error: str = ""
    #: where Slurm put that, below the working folder unless absolute; of an array with ``%a``
    outputfile: str = "slurm-{job}.out"
    errorfile: str | None = None
    #: files that an array left, by name
    files: Mapping[str, str] = field(default_factory=dict)
    #: parts by outcome, for arrays and heterogeneous jobs
    counts: Mapping[str, int] = field(default_factory=dict)
    restarts: int = 0
    #: the exit code by accounting alone, which takes 128 from those of 128 and more
    accounted: int | None = None
    #: Slurm itself takes long over it: it belongs to `make soak`
    slow: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def command(self) -> str:
        """The sbatch as a person types it."""
        return shlex.join([self.program, *self.arguments])

    @property
    def program(self) -> str:
        """The sbatch that is called."""
        return self.words[0] if self.words and self.words[0].endswith("/sbatch") else "sbatch"

    @property
    def arguments(self) -> tuple[str, ...]:
        """Its words."""
        return self.words[1:] if self.program != "sbatch" else self.words

    @property
    def plain(self) -> bool:
        """It can stand in a list of commands, one a line."""
        return not (self.script or self.options or any("\n" in word for word in self.words))

    @property
    def harms_others(self) -> bool:
        """What is done to it may end other jobs too."""
        return self.act.startswith("node")

    @property
    def waits_for_another(self) -> bool:
        """It needs the number of another row's job."""
        return any("{job of " in word for word in self.words)

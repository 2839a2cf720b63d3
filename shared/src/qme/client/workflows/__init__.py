"""Workflow files: tasks with names, in the order in which they wait for each other, submitted as one group.

`reading` (text, and in which line a mistake stands) → `model` (what may be said) → `expansion` (one task for each
value of a matrix) → `resuming` (what of it has to run) and `drawing`. Only `running` knows a bus.
"""

from qme.client.workflows.drawing import mermaid, tree
from qme.client.workflows.expansion import Planned, Workflow, expand
from qme.client.workflows.reading import Flaws, read
from qme.client.workflows.running import Run, begin, prepared

__all__ = ["Flaws", "Planned", "Run", "Workflow", "begin", "expand", "mermaid", "prepared", "read", "tree"]

"""Whether an executor keeps its side of the contract: real attempts by a real worker, on a bus in memory.

`checks` has what is asked of every executor; `qme executor check` and `qme.testing.suite` ask it.
"""

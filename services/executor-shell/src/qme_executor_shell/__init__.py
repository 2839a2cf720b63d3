"""The shell executor: runs commands on the worker's own host."""

"""The keeper: one small process per worker spool, and the parent of every command of that worker.

It is a program of its own, started as ``python -I -S -E …/qme/executor/keeper SPOOL``, so that commands outlive
their worker: it has its own session, knows no bus and no executor, and imports only the standard library. Nothing of
qme may be imported in here, and nothing slow to import (its start and its memory are paid once per worker).

    launch.py   the start token, the spool files, and the spawn: at most one per attempt
    proc.py     what /proc tells: identities, and which processes belong to an attempt
    ending.py   terminates such a tree: TERM, a grace, then KILL until nothing is left
    door.py     the socket's place in the spool, made anew where somebody removed it
    service.py  the socket, the requests, and the loop that reaps
    program.py  the start: the spool's lock, and what a keeper inherits
"""

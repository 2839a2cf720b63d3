"""Tells people how their tasks ended: by a command of theirs, or a webhook. Each user runs their own (`qme notifier`).

Not in the submitter: it would run commands, and call addresses, that strangers have named.
"""

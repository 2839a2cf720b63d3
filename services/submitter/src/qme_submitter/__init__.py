"""The submitter: accepts, routes and releases tasks. No names here; start it with ``qme-submitter``."""

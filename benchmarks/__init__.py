"""How fast qme is, beside what the machine can do and beside other systems: `make bench`."""

"""What crosses a process boundary: subjects, records and messages. Pure: no IO, no clock, no settings."""

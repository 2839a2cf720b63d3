"""What a running service tells about itself: logs, metrics, health. For services, not for the command line.

Import the part needed (`logging`, `metrics`, `health`): each brings a library along, so this file imports
none.
"""

"""Settings: one table of options, five layers, and the origin of every value. Standard library only.

`table` holds the options, `values` their kinds, `layers` the precedence, `files` the config file.
No connection, log or process is made from here; whoever needs a setting is handed the loaded `Settings`.
"""

from qme.settings.layers import (
    Loaded,
    Origin,
    check_executor_value,
    load,
    load_executor_settings,
    misspelt,
    set_value,
)
from qme.settings.table import ExecutorSettings, Option, Settings, option, optional, options
from qme.settings.values import (
    BOOLEAN,
    ENTRIES,
    FOLDERS,
    INTEGER,
    NAMES,
    NUMBER,
    PATH,
    PATTERNS,
    TEXT,
    Kind,
    choice,
    duration,
    integer,
    matching,
    size,
)

__all__ = [
    "BOOLEAN",
    "ENTRIES",
    "FOLDERS",
    "INTEGER",
    "NAMES",
    "NUMBER",
    "PATH",
    "PATTERNS",
    "TEXT",
    "ExecutorSettings",
    "Kind",
    "Loaded",
    "Option",
    "Origin",
    "Settings",
    "check_executor_value",
    "choice",
    "duration",
    "integer",
    "load",
    "load_executor_settings",
    "matching",
    "misspelt",
    "option",
    "optional",
    "options",
    "set_value",
    "size",
]

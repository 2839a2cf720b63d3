"""The dashboard: tasks and executors in a browser, and the same as JSON, in one process on one port.

Below is a copy of the task records (`store`, fed by `hub`); on it stand the pages (`ui`, the one place that knows
Streamlit) and the HTTP interface (`api`); `guard` stands before both.
Never here: reads or writes of the bus that do not go through `qme.client`.
"""

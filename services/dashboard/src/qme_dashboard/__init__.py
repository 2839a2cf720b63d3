"""The dashboard's package; it holds no code yet, and so depends on no web framework and installs no command.

Here will live the Streamlit pages on tasks and executors, and below them a data layer on ``qme.client``.
Never here: reads or writes of the bus that do not go through the client.
"""

"""What the library offers under short names is there, and costs only those who ask for it."""

from __future__ import annotations

import subprocess
import sys

import qme.executor


def test_every_public_name_of_the_sdk_is_there() -> None:
    """Each name in `__all__` can be imported, and there is no list that says otherwise."""
    homes = [name for names in qme.executor._HOMES.values() for name in names]
    assert sorted(homes) == sorted(qme.executor.__all__)
    assert all(getattr(qme.executor, name) is not None for name in homes)


def test_sdk_brings_no_bus_and_no_dashboard() -> None:
    """An executor's author, and the supervisor, don't pay for what they don't use."""
    heavy = "{'nats', 'streamlit', 'prometheus_client', 'structlog'}"
    script = (
        "import sys, qme.executor.processes; assert 'pydantic' not in sys.modules\n"
        f"from qme.executor import Executor; assert not {heavy} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)

"""Settings are read by every command, so importing them stays cheap."""

import subprocess
import sys

HEAVY = {"pydantic", "nats", "structlog", "prometheus_client", "rich", "asyncio", "configparser", "difflib"}


def test_importing_and_loading_settings_brings_nothing_heavy_along(env: dict[str, str]) -> None:
    """With no config file there is not even a parser to import."""
    program = (
        "import sys, qme.settings as s; s.load(); print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True, timeout=50
    )
    assert not HEAVY & set(done.stdout.split())

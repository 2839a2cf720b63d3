"""qme on a bus that the test runs: submitters and a shell worker in processes of their own, and the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.integration.stack import Stack, processes, until

#: seconds that a service may take to end
_ENDING = 40.0
#: what a site sets, and waits that would make the tests long
SETTINGS = {"QME_REPLICAS": "3", "QME_EMBEDDED": "false", "QME_HEARTBEAT": "2", "QME_JANITOR_INTERVAL": "2"}


class Site(Stack):
    """A context manager around the services; commands are run as with any other stack."""

    def __init__(
        self, home: Path, url: str, creds: Path, *, submitters: int = 2, env: Mapping[str, str] | None = None
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        bus = {"QME_NATS_URL": url, "QME_NATS_CREDS": str(creds), "QME_LOG_FORMAT": "json"}
        super().__init__(home, {**SETTINGS, **bus, **(env or {})})
        self._submitters = submitters
        self.services: dict[str, subprocess.Popen[bytes]] = {}

    def begin(self, name: str, *argv: str) -> None:
        """Start a service under a name; its log is `NAME.log` in the home folder."""
        program = str(Path(sys.executable).with_name(argv[0]))
        with self.log(name).open("ab") as log:
            self.services[name] = subprocess.Popen(
                [program, *argv[1:]],
                cwd=self.home,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def end(self, name: str) -> None:
        """End a service as an operator would, and wait for that."""
        service = self.services.pop(name)
        service.terminate()
        service.wait(_ENDING)

    def log(self, name: str) -> Path:
        """Where a service writes its log."""
        return self.home / f"{name}.log"

    def __enter__(self) -> Site:
        try:
            for number in range(1, self._submitters + 1):
                self.begin(f"submitter-{number}", "qme-submitter")
            self.begin("worker", "qme", "worker", "shell")
            until(lambda: "worker.ready" in self.log("worker").read_text(), 60)
            until(lambda: "\tonline" in self.ok("executors"), 60)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the services, and what a worker left running."""
        for service in self.services.values():
            service.terminate()
        late = []
        for name, service in self.services.items():
            try:
                service.wait(_ENDING)
            except subprocess.TimeoutExpired:
                late.append(f"{name} did not end: {self.log(name).read_text()[-2000:]}")
                service.kill()
                service.wait()
        for left in processes(self):
            left.kill()
        assert not late, "\n".join(late)

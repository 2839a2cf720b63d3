"""Three NATS nodes in containers, with the configuration of deploy/nats/cluster. Clients reach them by published ports
of loopback, they reach each other by a network of their own. Starts and breaks nodes; qme is others' work.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import tarfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import docker
from docker.models.containers import Container
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from tests.cluster.nodes import SHIPPED, USERS, free_ports

from qme.testing.nats import program

#: an image to use instead of the one that is built here
IMAGE = os.environ.get("QME_TEST_NATS_IMAGE")
_BUILT = "qme-test-nats"
#: seconds until nodes that do not come up count as broken
PATIENCE = 60.0


class Node:
    """One node: its container, and the ways to break it."""

    def __init__(self, name: str, port: int, container: Container, front: Network, mesh: Network) -> None:
        self.name, self.port = name, port
        self._container, self._front, self._mesh = container, front, mesh

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"nats://127.0.0.1:{self.port}"

    def pause(self) -> None:
        """Freeze it."""
        self._container.pause()

    def kill(self) -> None:
        """End it without a chance to tidy up; its store stays."""
        self._container.kill()
        self._container.wait()

    def cut(self) -> None:
        """Take it off every network: nobody reaches it."""
        self.separate()
        _network(self._front).disconnect(self._container.id, force=True)

    def separate(self) -> None:
        """Take it off the nodes' network alone: clients stay connected to a node without a cluster."""
        _network(self._mesh).disconnect(self._container.id, force=True)

    def mend(self) -> None:
        """Undo whatever was done to it."""
        self._container.reload()
        if self._container.status == "paused":
            self._container.unpause()
        elif self._container.status != "running":
            self._container.start()
        self._container.reload()
        joined = self._container.attrs["NetworkSettings"]["Networks"]
        for network in (self._front, self._mesh):
            if _network(network).name not in joined:
                network.connect(self._container.id, [self.name] if network is self._mesh else None)

    def led_since(self) -> str:
        """When it was last elected to lead the whole cluster, in words that sort; none when it never was."""
        lines = self._container.logs().decode().splitlines()
        return max(
            (line for line in lines if "Self is new JetStream cluster metadata leader" in line), default=""
        )

    def log(self) -> str:
        """Its last words."""
        return str(self._container.logs(tail=15).decode())


@contextmanager
def nodes() -> Iterator[list[Node]]:
    """Three nodes that take connections; ended and removed with the context, their stores too."""
    image = IMAGE or _build()
    ports = free_ports(3)
    with ExitStack() as stack:
        front = stack.enter_context(Network())
        mesh = stack.enter_context(Network(docker_network_kw={"internal": True}))
        found = []
        for number, port in enumerate(ports, 1):
            container = DockerContainer(image).with_command(["-c", f"/n{number}.conf"]).with_network(front)
            # There is no other way to name the host's address.
            container.ports = {4222: ("127.0.0.1", port)}  # type: ignore[dict-item]
            for name, text in _configuration(ports).items():
                container.with_copy_into_container(text.encode(), f"/{name}")
            wrapped = stack.enter_context(container).get_wrapped_container()
            mesh.connect(wrapped.id, [f"n{number}"])
            found.append(Node(f"n{number}", port, wrapped, front, mesh))
        for node in found:
            _until_greeted(node)
        yield found


def credentials(folder: Path) -> Path:
    """Write the credentials file of the services' user."""
    path = folder / "site.json"
    path.touch(0o600)
    path.write_text(json.dumps({"user": "site", "password": USERS["site"]}))
    return path


def _configuration(ports: list[int]) -> dict[str, str]:
    """Do with the shipped files what their README says."""
    texts = {path.name: path.read_text() for path in SHIPPED.glob("*.conf")}
    for number, port in enumerate(ports, 1):
        own = texts[f"n{number}.conf"]
        own = own.replace(f'listen: "127.0.0.1:422{number + 1}"', 'listen: "0.0.0.0:4222"')
        own = own.replace(
            f'client_advertise: "127.0.0.1:422{number + 1}"', f'client_advertise: "127.0.0.1:{port}"'
        )
        own = own.replace(f'listen: "127.0.0.1:622{number + 1}"', 'listen: "0.0.0.0:6222"')
        texts[f"n{number}.conf"] = own.replace("/var/lib/qme-nats", "/data")
        texts["routes.conf"] = texts["routes.conf"].replace(f"127.0.0.1:622{number + 1}", f"n{number}:6222")
    assert not any("127.0.0.1:4222" in text or "127.0.0.1:6222" in text for text in texts.values())
    return texts


def _build() -> str:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        archive.add(Path(__file__).with_name("Dockerfile"), "Dockerfile")
        archive.add(shutil.which(program()) or program(), "nats-server")
    context.seek(0)
    client = docker.from_env()
    try:
        client.images.build(fileobj=context, custom_context=True, tag=_BUILT, rm=True, forcerm=True)
    finally:
        client.close()
    return _BUILT


def _network(network: Network) -> docker.models.networks.Network:
    return network._unwrap_network


def _until_greeted(node: Node) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        # The engine takes the connection itself: only the first line tells that the node is there.
        with suppress(OSError), socket.create_connection(("127.0.0.1", node.port), timeout=1) as talk:
            if talk.recv(4) == b"INFO":
                return
        time.sleep(0.1)
    raise TimeoutError(f"{node.name} does not answer: {node.log()}")

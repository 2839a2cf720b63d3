"""Three nats-servers on loopback that run the configuration of deploy/nats/cluster; each can be killed, stopped, frozen
and started again. Starts servers and asks them how they are; submitters, workers and commands are others' work.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from secrets import randbelow
from types import TracebackType
from typing import Any, Protocol

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import StorageType

from qme.testing.nats import NatsServer

SHIPPED = Path(__file__).parents[2] / "deploy/nats/cluster"
#: what the shipped files say, and a test replaces
CLIENT_PORTS, ROUTE_PORTS, STORE = (4222, 4223, 4224), (6222, 6223, 6224), "/var/lib/qme-nats"
USERS = {"site": "change-me-site", "ann": "change-me-ann"}
#: seconds until a cluster counts as broken
PATIENCE = 60.0


class Address(Protocol):
    """A server that may be asked."""

    @property
    def url(self) -> str:
        """Where it listens."""
        ...


class Node(NatsServer):
    """One server of the cluster; its port is fixed, so that clients find it again."""

    def __init__(self, folder: Path, name: str, port: int) -> None:
        super().__init__(folder / name)
        self.name, self.port = name, port
        self.config = folder / f"{name}.conf"
        self.frozen = False

    @property
    def running(self) -> bool:
        """It takes part: neither ended nor frozen."""
        return self._process is not None and self._process.poll() is None and not self.frozen

    def pause(self) -> None:
        """Freeze it: its connections stay open and nothing answers."""
        super().pause()
        self.frozen = True

    def resume(self) -> None:
        """Let a frozen node go on."""
        super().resume()
        self.frozen = False

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def _configure(self) -> None:
        """Leave the configuration as the cluster has written it."""


class Cluster:
    """A context manager around three nodes; it starts them, waits until they work, and ends what it started."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        clients, routes = free_ports(3), free_ports(3)
        replaced = {f'"{STORE}': f'"{folder}/store'}
        for shipped, own in zip((*CLIENT_PORTS, *ROUTE_PORTS), (*clients, *routes), strict=True):
            replaced[f"127.0.0.1:{shipped}"] = f"127.0.0.1:{own}"
        for path in SHIPPED.glob("*.conf"):
            text = path.read_text()
            for old, new in replaced.items():
                text = text.replace(old, new)
            (folder / path.name).write_text(text)
        self.nodes = tuple(Node(folder, f"n{number}", port) for number, port in enumerate(clients, 1))

    @property
    def url(self) -> str:
        """All three addresses, as QME_NATS_URL takes them."""
        return ",".join(node.url for node in self.nodes)

    def creds(self, user: str = "site") -> Path:
        """Credentials file of one of the users of the shipped configuration."""
        path = self.folder / f"{user}.json"
        if not path.exists():
            path.touch(0o600)
            path.write_text(json.dumps({"user": user, "password": USERS[user]}))
        return path

    def __enter__(self) -> Cluster:
        try:
            for node in self.nodes:
                node.start()
            self.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End all nodes, in whatever state they are."""
        for node in self.nodes:
            node.resume()
            node.kill()

    def mend(self) -> None:
        """Bring back whatever was frozen or ended, and wait until all is well."""
        for node in self.nodes:
            node.resume()
            if not node.running:
                node.start()
        self.wait()

    def wait(self, seconds: float = PATIENCE) -> None:
        """Wait until the running nodes hold every stream and consumer, in step, and a write through each is stored.

        With a node away the others only need leaders. Blocks; from a coroutine call it in a thread.
        """
        asyncio.run(self._wait(seconds))

    def leader(self, stream: str) -> Node:
        """Give the node that leads a stream now. Blocks."""
        return asyncio.run(self._leader(stream))

    def node(self, name: str) -> Node:
        """Give a node by its name."""
        return next(node for node in self.nodes if node.name == name)

    def others(self, node: Node) -> list[Node]:
        """Give the other two."""
        return [other for other in self.nodes if other is not node]

    async def streams(self) -> list[dict[str, Any]]:
        """Describe all streams, as the server does."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for node in self._running():
                    with suppress(NatsError, OSError, TimeoutError):
                        return await ask_all(node)
                await asyncio.sleep(0.1)

    async def consumers(self, stream: str) -> list[dict[str, Any]]:
        """Describe a stream's consumers, as the server does."""
        client = await _connect(self._running()[0])
        try:
            answer = await client.request(f"$JS.API.CONSUMER.LIST.{stream}", b"", timeout=5)
            found: list[dict[str, Any]] = json.loads(answer.data)["consumers"]
            return found
        finally:
            await client.close()

    def _running(self) -> Sequence[Node]:
        return [node for node in self.nodes if node.running]

    async def _leader(self, stream: str) -> Node:
        async with asyncio.timeout(PATIENCE):
            while True:
                for found in await self.streams():
                    name = (found.get("cluster") or {}).get("leader")
                    if found["config"]["name"] == stream and name:
                        return self.node(name)
                await asyncio.sleep(0.1)

    async def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        why: object = "it did not answer"
        while time.monotonic() < deadline:
            try:
                for node in self._running():
                    why = await self._trouble(node)
                    if why is not None:
                        break
                else:
                    return
            except (NatsError, OSError, TimeoutError) as error:
                why = repr(error)
            await asyncio.sleep(0.1)
        logs = "\n".join((node.folder / "log").read_text()[-1500:] for node in self.nodes)
        raise TimeoutError(f"the cluster is not well after {seconds:g} s: {why}\n{logs}")

    async def _trouble(self, node: Node) -> str | None:
        """Say what is not well as seen through one node; None: it stored a write, and all is in step."""
        here = {running.name for running in self._running()}
        for stream in await ask_all(node):
            name, cluster = stream["config"]["name"], stream.get("cluster") or {}
            if not cluster.get("leader"):
                return f"{name} has no leader"
            late = [
                peer["name"]
                for peer in cluster.get("replicas") or []
                if peer["name"] in here and not (peer["current"] and not peer.get("offline"))
            ]
            if late:
                return f"{name} is not in step on {late}"
        return await _write(node)


def free_ports(count: int) -> list[int]:
    """Find ports of loopback that nobody uses, below those that the kernel hands out: they stay free for a restart."""
    found: list[int] = []
    while len(found) < count:
        port = 10_000 + randbelow(10_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if port not in found:
                found.append(port)
    return found


async def _connect(node: Address) -> Client:
    async def quiet(error: Exception) -> None:
        """Say nothing: whoever asked gets the error."""

    return await nats.connect(
        node.url,
        user="site",
        password=USERS["site"],
        allow_reconnect=False,
        connect_timeout=1,
        max_reconnect_attempts=1,
        error_cb=quiet,
    )


async def ask_all(node: Address) -> list[dict[str, Any]]:
    """Describe all streams as one node sees them. Raises what a node does that is not there, or has no cluster."""
    client = await _connect(node)
    try:
        found: list[dict[str, Any]] = []
        while True:
            question = json.dumps({"offset": len(found)}).encode()
            answer = json.loads((await client.request("$JS.API.STREAM.LIST", question, timeout=2)).data)
            if "error" in answer:
                raise NatsError(str(answer["error"]))
            found += answer["streams"] or []
            if len(found) >= answer["total"] or not answer["streams"]:
                return found
    finally:
        with suppress(Exception):
            await client.close()


async def _write(node: Node) -> str | None:
    """Store a message on all three through one node; the stream for it is made at the first."""
    client = await _connect(node)
    try:
        stream = client.jetstream(timeout=2)
        await stream.add_stream(
            name="PROBE",
            subjects=["probe"],
            num_replicas=3,
            max_msgs=1,
            storage=StorageType.MEMORY,
        )
        await stream.publish("probe", b"", timeout=2)
        return None
    except (NatsError, TimeoutError) as error:
        return f"a write through {node.name} is not stored: {error!r}"
    finally:
        with suppress(Exception):
            await client.close()

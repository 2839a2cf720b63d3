"""A real nginx before a dashboard, with the lines that docs/dashboard.md tells people to use. No tests here."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

_DOCS = Path(__file__).parents[2] / "docs/dashboard.md"
#: what the page calls the site, and where its nginx has files
NAME, _FOLDER = "qme.example.org", "/etc/nginx/qme"
#: lines of the page that a dashboard with a password of its own does without
_OF_NAMES = re.compile(r"^.*(auth_basic|X-Forwarded-User|Authorization|token\.conf).*\n", re.MULTILINE)
_AROUND = """
daemon off;
user root;
pid {folder}/pid;
error_log {folder}/error.log info;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{site}
}}
"""


def _program() -> str:
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip("no nginx: apt-get install nginx-light")
    return found


def _blocks() -> tuple[str, str]:
    """Give the page's configuration, and the commands that go with it."""
    text = _DOCS.read_text()
    (site,) = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    (commands,) = re.findall(r"```nginx\n.*?```sh\n(.*?)```", text, re.DOTALL)
    return site, commands


def _with(text: str, places: dict[str, str]) -> str:
    """Put other places for those of the page, all of which it has to name."""
    for place, instead in places.items():
        assert place in text, place
        text = text.replace(place, instead)
    return text


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Proxy:
    """One nginx; `people` are names with their passwords, empty where the dashboard asks itself."""

    def __init__(self, folder: Path, home: Path, upstream: str, people: dict[str, str]) -> None:
        self._program = _program()
        self._folder = folder
        site, commands = _blocks()
        self.port = _free_port()
        site = _with(
            site, {"443 ssl": f"127.0.0.1:{self.port} ssl", "127.0.0.1:5000": upstream, _FOLDER: str(folder)}
        )
        commands = _with(commands, {"~/.qme": shlex.quote(str(home)), _FOLDER: str(folder)})
        if os.getuid() != 0:
            commands = re.sub(r"^chown.*\n", "", commands, flags=re.MULTILINE)
        for name, password in people.items():
            self._run(commands.replace("ann:", f"{name}:"), f"{password}\n{password}\n")
        self._run(
            f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={NAME} -keyout key.pem -out cert.pem"
        )
        (folder / "nginx.conf").write_text(
            _AROUND.format(folder=folder, site=site if people else _OF_NAMES.sub("", site))
        )

    def _run(self, commands: str, answers: str = "") -> None:
        """Run shell commands; without a terminal, questions are asked on standard input."""
        subprocess.run(
            ["sh", "-ec", commands], cwd=self._folder, input=answers.encode(), check=True, capture_output=True,
            start_new_session=True, timeout=60,
        )  # fmt: skip

    @property
    def certificate(self) -> Path:
        """What its certificate can be checked with."""
        return self._folder / "cert.pem"

    @property
    def url(self) -> str:
        """What people type, were the name theirs."""
        return f"https://{NAME}:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        with (self._folder / "said").open("wb") as said:
            self._process = subprocess.Popen(
                [self._program, "-c", str(self._folder / "nginx.conf")], stdout=said, stderr=said
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                return
            except OSError:
                assert self._process.poll() is None, (self._folder / "said").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(60)

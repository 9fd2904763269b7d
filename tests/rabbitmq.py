"""A private RabbitMQ node: its folder, its ports and its epmd are its own.

It takes Debian's package and runs the server's script without the package's wrapper,
which would change to the user `rabbitmq` and read /etc. Neither the package's
service nor any other node is touched, and it runs as root too.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import Issued
from tests.harness import (
    Process,
    environment,
    eventually,
    free_port,
    listens,
    process,
    short_folder,
)

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
VHOSTS = (
    *("redis", "redis-deserted", "embedded", "embedded-deserted"),
    *("dispatch", "outage", "nemesis", "docs", "plain", "tutorial", "applications", "tenants"),
    *("secrets", "operations", "quorum"),
)
"""The virtual hosts of a node, by purpose; each has its own queues."""

READY = r"completed with \d+ plugins"
"""The output of a node that accepts connections."""

START_TIMEOUT_S = 100.0
"""It takes 4 s of a core, of which a busy machine has few."""
_STOP_TIMEOUT_S = 30.0
_ON_LOOPBACK = "-kernel inet_dist_use_interface {127,0,0,1}"
_NO_SPINNING = "+sbwt none +sbwtdcpu none +sbwtdio none"
"""By default, Erlang's schedulers spin before they sleep: a sixth of the CPU of a start."""


def is_installed() -> bool:
    """Whether a node can be started."""
    return SERVER.exists() and shutil.which("epmd") is not None


def require_rabbitmq() -> None:
    """Skips the test if no RabbitMQ is installed; fails it in CI."""
    if is_installed():
        return
    missing = "RabbitMQ is not installed (Debian: apt-get install rabbitmq-server)"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


class RabbitMQ:
    """A node that can be stopped and started; it keeps its address and its queues."""

    def __init__(
        self, folder: Path, epmd_port: int, tls: tuple[Path, Issued] | None = None
    ) -> None:
        self.folder = folder
        self.env = _node_environment(folder, epmd_port)
        self._port = free_port()
        self._node: Process | None = None
        self._tls_port = free_port()
        _write_configuration(folder, self._port)
        if tls is not None:
            _add_tls(folder, self._tls_port, *tls)

    def url(self, vhost: str) -> str:
        """The URL of one of `VHOSTS`, as kombu takes it."""
        return f"amqp://guest:guest@127.0.0.1:{self._port}/{vhost}"

    def tls_url(self, host: str, vhost: str) -> str:
        """The URL of its listener with TLS, which requires a client certificate."""
        return f"amqps://guest:guest@{host}:{self._tls_port}/{vhost}"

    def start(self) -> None:
        """Starts the node; returns when it accepts connections."""
        assert self._node is None
        self._node = Process([str(SERVER)], self.env, self.folder)
        self._node.wait_for(READY, START_TIMEOUT_S)

    @contextlib.contextmanager
    def out_of_memory(self) -> Iterator[None]:
        """Turns on the memory alarm during the block: publishers block, without an error."""
        self.control("set_vm_memory_high_watermark", "0.0000001")
        try:
            yield
        finally:
            self.control("set_vm_memory_high_watermark", "0.4")

    def connections(self, *columns: str) -> list[list[str]]:
        """What the node says of each of its connections."""
        listed = self.control("list_connections", "--quiet", "--no-table-headers", *columns)
        return [line.split("\t") for line in listed.splitlines()]

    def control(self, *command: str) -> str:
        """The output of `rabbitmqctl`."""
        node = self.env["RABBITMQ_NODENAME"]
        ran = subprocess.run(
            [str(SERVER.parent / "rabbitmqctl"), "--node", node, *command],
            env=self.env,
            check=True,
            capture_output=True,
            text=True,
        )
        return ran.stdout

    def stop(self) -> None:
        """Ends the node, if it runs; returns when it has ended."""
        node, self._node = self._node, None
        if node is None:
            return
        try:
            node.stop(signal.SIGTERM, _STOP_TIMEOUT_S)
        finally:
            # The script's child, in case the script had to be killed.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
                os.kill(int((self.folder / "pid").read_text()), signal.SIGKILL)


@contextlib.contextmanager
def rabbitmq_node(tls: tuple[Path, Issued] | None = None) -> Iterator[RabbitMQ]:
    """A node that runs until the block is left; nothing of it remains."""
    with rabbitmq_folder(tls) as node:
        try:
            node.start()
            yield node
        finally:
            node.stop()


@contextlib.contextmanager
def rabbitmq_folder(tls: tuple[Path, Issued] | None = None) -> Iterator[RabbitMQ]:
    """A node that was not started yet: `start` it, or run `SERVER` in its `env` and `folder`."""
    epmd_port = free_port()
    with (
        short_folder() as folder,
        # Ours, as a child: the one that a node starts is a daemon, and outlives it.
        process("epmd", "-port", str(epmd_port), "-address", "127.0.0.1", env=environment()),
    ):
        eventually(lambda: listens(epmd_port), "epmd listens")
        yield RabbitMQ(folder, epmd_port, tls)


def _node_environment(folder: Path, epmd_port: int) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),  # Erlang creates its cookie there
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_NODENAME": f"forebay-{epmd_port}@localhost",
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{_ON_LOOPBACK} {_NO_SPINNING}",
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }


def _write_configuration(folder: Path, port: int) -> None:
    (folder / "plugins").write_text("[].\n")
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{port}\n"
        f"load_definitions = {folder / 'definitions.json'}\n"
        "log.console.level = warning\n"
    )
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    definitions = {
        "users": [{"name": "guest", "password": "guest", "tags": []}],
        "vhosts": [{"name": vhost} for vhost in VHOSTS],
        "permissions": [{"user": "guest", "vhost": vhost, **everything} for vhost in VHOSTS],
    }
    (folder / "definitions.json").write_text(json.dumps(definitions))


def _add_tls(folder: Path, port: int, ca: Path, server: Issued) -> None:
    with (folder / "rabbitmq.conf").open("a") as configuration:
        configuration.write(
            f"listeners.ssl.1 = 127.0.0.1:{port}\n"
            f"ssl_options.cacertfile = {ca}\n"
            f"ssl_options.certfile = {server.certificate}\n"
            f"ssl_options.keyfile = {server.key}\n"
            "ssl_options.verify = verify_peer\n"
            "ssl_options.fail_if_no_peer_cert = true\n"
        )

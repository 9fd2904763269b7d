"""nginx, HAProxy and Envoy in front of two gateways, with the files of `examples/proxies`."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.harness import environment, eventually, free_port, process, short_folder

EXAMPLES = Path(__file__).parents[2] / "examples" / "proxies"
_OF_THIS_TEST = """http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
"""


def _nginx(folder: Path, port: int, ports: Sequence[int]) -> list[str]:
    written = _example("nginx.conf", ports, {"listen 50050": f"listen 127.0.0.1:{port}"})
    written = written.replace("http {\n", _OF_THIS_TEST.format(folder=folder))
    (folder / "nginx.conf").write_text(written)
    alone = f"daemon off; pid {folder}/pid; error_log stderr warn;"
    return [_program("nginx"), "-c", f"{folder}/nginx.conf", "-e", "stderr", "-g", alone]


def _haproxy(folder: Path, port: int, ports: Sequence[int]) -> list[str]:
    written = _example("haproxy.cfg", ports, {"bind :50050": f"bind 127.0.0.1:{port}"})
    (folder / "haproxy.cfg").write_text(written)
    return [_program("haproxy"), "-db", "-f", f"{folder}/haproxy.cfg"]


def _envoy(folder: Path, port: int, ports: Sequence[int]) -> list[str]:
    listens = f"address: 127.0.0.1, port_value: {port}"
    written = _example("envoy.yaml", ports, {"address: 0.0.0.0, port_value: 50050": listens})
    (folder / "envoy.yaml").write_text(written)
    return ["envoy", "-c", f"{folder}/envoy.yaml", "--log-level", "error", "--use-dynamic-base-id"]


def _example(name: str, ports: Sequence[int], here: dict[str, str]) -> str:
    """The example with its two gateways at these ports, and with other texts of the test's."""
    text = (EXAMPLES / name).read_text()
    instead = dict(here)
    for number, port in enumerate(ports, start=1):
        host = f"gateway-{number}.internal"
        between = ", port_value: " if f"{host}, port_value" in text else ":"
        instead[f"{host}{between}50051"] = f"127.0.0.1{between}{port}"
    for theirs, ours in instead.items():
        assert theirs in text, f"{name} has no {theirs!r}"
        text = text.replace(theirs, ours)
    return text


_COMMANDS: dict[str, Callable[[Path, int, Sequence[int]], list[str]]] = {
    "nginx": _nginx,
    "haproxy": _haproxy,
    "envoy": _envoy,
}
PROXIES = tuple(_COMMANDS)


def _program(name: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert found is not None, f"{name} is missing: apt-get install {name}"
    return found


@contextlib.contextmanager
def proxy(name: str, ports: Sequence[int]) -> Iterator[str]:
    """The proxy in front of the gateways at the ports; its address."""
    port = free_port()
    with short_folder() as folder:
        command = _COMMANDS[name](folder, port, ports)
        with process(*command, env=environment()):
            eventually(lambda: _accepts(port), f"{name} listens")
            yield f"127.0.0.1:{port}"


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

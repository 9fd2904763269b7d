"""nginx, HAProxy and Envoy in front of gateways, with timeouts that are short for tests."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.harness import environment, eventually, free_port, listens, process, short_folder

READ_TIMEOUT_S = 2
"""Each proxy ends a stream on which the gateway was silent for this long."""

NAMES = ("nginx", "haproxy", "envoy")

_NGINX = """
daemon off;
pid {folder}/pid;
error_log stderr info;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream gateways {{
    {servers}
  }}
  server {{
    listen 127.0.0.1:{port} http2;
    grpc_read_timeout {read_timeout_s}s;
    location / {{ grpc_pass grpc://gateways; }}
    {refused}
  }}
}}
"""

_NGINX_REFUSED = """
    location {path} {{
      default_type application/grpc;
      add_header grpc-status 12 always;
      return 204;
    }}
"""

_HAPROXY = """
global
  maxconn 256
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server {read_timeout_s}s
frontend callers
  bind 127.0.0.1:{port} proto h2
  default_backend gateways
backend gateways
  balance roundrobin
  {servers}
"""


@contextlib.contextmanager
def proxy(name: str, gateways: Sequence[str], refused: str = "") -> Iterator[str]:
    """The proxy of that name in front of gateways at these addresses; yields its address.

    nginx answers paths that begin with `refused` with UNIMPLEMENTED.
    """
    port = free_port()
    with short_folder() as folder:
        folder.chmod(0o755)  # nginx's workers have a user of their own
        write, command = {
            "nginx": (partial(_nginx, refused), (program("nginx"), "-p", str(folder), "-c")),
            "haproxy": (_haproxy, (program("haproxy"), "-db", "-f")),
            "envoy": (_envoy, (program("envoy"), "--use-dynamic-base-id", "-l", "info", "-c")),
        }[name]
        configuration = folder / "proxy.json"
        configuration.write_text(write(folder, port, gateways))
        with process(*command, str(configuration), env=environment()) as running:
            eventually(lambda: listens(port), lambda: f"{name} listens:\n{running.output}")
            yield f"127.0.0.1:{port}"


def program(name: str) -> str:
    """The proxy's path. Skips the test if it is not installed; fails it in CI."""
    found = shutil.which(name, path=f"{environment()['PATH']}:/usr/sbin")
    if found is None:
        missing = f"{name} is not installed (Debian: apt-get install {name})"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def _nginx(refused: str, folder: Path, port: int, gateways: Sequence[str]) -> str:
    return _NGINX.format(
        folder=folder,
        port=port,
        servers="\n    ".join(f"server {address};" for address in gateways),
        read_timeout_s=READ_TIMEOUT_S,
        refused=refused and _NGINX_REFUSED.format(path=refused),
    )


def _haproxy(folder: Path, port: int, gateways: Sequence[str]) -> str:
    servers = "\n  ".join(
        f"server gateway{number} {address} proto h2 check inter 200ms fastinter 200ms fall 1"
        for number, address in enumerate(gateways)
    )
    return _HAPROXY.format(port=port, servers=servers, read_timeout_s=READ_TIMEOUT_S)


def _envoy(folder: Path, port: int, gateways: Sequence[str]) -> str:
    return envoy_configuration(port, gateways)


def envoy_configuration(
    port: int,
    gateways: Sequence[str],
    codec: str = "HTTP2",
    filters_before: Sequence[dict[str, object]] = (),
) -> str:
    """Envoy's configuration is JSON; its default route timeout of 15 s is the one that matters."""
    router = {"@type": f"{_TYPES}.filters.http.router.v3.Router"}
    manager = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "callers",
        "codec_type": codec,
        "http_filters": [*filters_before, {"name": "router", "typed_config": router}],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "gateways",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "route": {"cluster": "gateways", "timeout": f"{READ_TIMEOUT_S}s"},
                        }
                    ],
                }
            ]
        },
    }
    filters = [{"name": "manager", "typed_config": manager}]
    listener = {"address": _socket(f"127.0.0.1:{port}"), "filter_chains": [{"filters": filters}]}
    return json.dumps(
        {"static_resources": {"listeners": [listener], "clusters": [_cluster(gateways)]}}
    )


_TYPES = "type.googleapis.com/envoy.extensions"


def _cluster(gateways: Sequence[str]) -> dict[str, object]:
    options = {"explicit_http_config": {"http2_protocol_options": {}}}
    protocol = {"@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions", **options}
    endpoints = [{"endpoint": {"address": _socket(address)}} for address in gateways]
    return {
        "name": "gateways",
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol
        },
        "load_assignment": {
            "cluster_name": "gateways",
            "endpoints": [{"lb_endpoints": endpoints}],
        },
    }


def _socket(address: str) -> dict[str, object]:
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}

"""nginx, HAProxy and Envoy in front of two gateways."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.harness import environment, eventually, free_port, process, short_folder

_NGINX = """
daemon off; pid {folder}/pid; error_log stderr warn;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream gateways {{ {servers} keepalive 16; }}
  server {{
    listen 127.0.0.1:{port} http2;
    keepalive_requests 1000000;
    location / {{ grpc_pass grpc://gateways; }}
  }}
}}
"""
_HAPROXY = """
defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  option redispatch 1
  retry-on conn-failure
frontend callers
  bind 127.0.0.1:{port} proto h2
  default_backend gateways
backend gateways
{servers}
"""
_ENVOY = """
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: callers
          codec_type: HTTP2
          http_filters:
          - name: router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                route:
                  cluster: gateways
                  retry_policy: {{ retry_on: "connect-failure,refused-stream" }}
  clusters:
  - name: gateways
    type: STATIC
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}
    health_checks:
    - timeout: 1s
      interval: 0.5s
      no_traffic_interval: 0.5s
      unhealthy_threshold: 1
      healthy_threshold: 1
      grpc_health_check: {{}}
    load_assignment:
      cluster_name: gateways
      endpoints:
      - lb_endpoints:
{servers}
"""  # noqa: E501 - names of Envoy's types
_ENVOY_SERVER = (
    "        - endpoint: {{ address: {{ socket_address: "
    "{{ address: 127.0.0.1, port_value: {port} }} }} }}\n"
)


def _nginx(folder: Path, port: int, ports: Sequence[int]) -> list[str]:
    servers = " ".join(f"server 127.0.0.1:{each} fail_timeout=1s;" for each in ports)
    (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, port=port, servers=servers))
    return [_program("nginx"), "-c", f"{folder}/nginx.conf", "-e", "stderr"]


def _haproxy(folder: Path, port: int, ports: Sequence[int]) -> list[str]:
    servers = "\n".join(
        f"  server gateway{each} 127.0.0.1:{each} proto h2 check inter 500ms" for each in ports
    )
    (folder / "haproxy.cfg").write_text(_HAPROXY.format(port=port, servers=servers))
    return [_program("haproxy"), "-db", "-f", f"{folder}/haproxy.cfg"]


def _envoy(folder: Path, port: int, ports: Sequence[int]) -> list[str]:
    servers = "".join(_ENVOY_SERVER.format(port=each) for each in ports)
    (folder / "envoy.yaml").write_text(_ENVOY.format(port=port, servers=servers))
    return ["envoy", "-c", f"{folder}/envoy.yaml", "--log-level", "error", "--use-dynamic-base-id"]


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

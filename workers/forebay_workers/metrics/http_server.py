"""Serves a worker's metrics over HTTP, in threads of its main process."""

from __future__ import annotations

import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client.registry import Collector

from forebay_backends.metrics.exposition import Renderer

_PATH = "/metrics"
_TIMEOUT_S = 10.0


class MetricsServer:
    """Serves `/metrics` on HOST:PORT once it is made; raises OSError if it can't listen."""

    def __init__(self, listen: str, collector: Collector) -> None:
        renderer = Renderer()

        class Handler(BaseHTTPRequestHandler):
            timeout = _TIMEOUT_S

            def do_GET(self) -> None:
                if self.path.partition("?")[0] != _PATH:
                    self.send_error(HTTPStatus.NOT_FOUND)
                    return
                text, content_type = renderer.render(collector, self.headers.get("accept", ""))
                self.send_response(HTTPStatus.OK)
                self.send_header("content-type", content_type)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Scrapes are not logged."""

        host, _, port = listen.rpartition(":")
        is_ipv6 = ":" in host

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if is_ipv6 else socket.AF_INET

        self._server = Server((host.strip("[]"), int(port)), Handler)
        self.address = f"{host}:{self._server.server_port}"
        threading.Thread(
            target=self._server.serve_forever, name="forebay-metrics-http", daemon=True
        ).start()

    def close_in_child(self) -> None:
        """Closes a child's copy of the socket.

        Otherwise the port would stay in use if the child outlived the main process.
        """
        self._server.socket.close()

"""A proxy in front of the ledger's server that can lose a reply."""

from __future__ import annotations

import contextlib
import hashlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from forebay_backends.ledger.scripts import script

_BUFFER_BYTES = 1 << 16


class LossyLink:
    """Forwards bytes in both directions; on demand it breaks between a request and its reply."""

    def __init__(self, server_url: str) -> None:
        self._server = urlsplit(server_url)
        self._lose_answer_to: tuple[bytes, ...] = ()
        self._then: Callable[[], object] = lambda: None
        self.lost = threading.Event()
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """The URL of the server through the link."""
        database = self._server.path if self._server.scheme == "redis" else "/0"
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}{database}"

    def lose_answer_to(self, operation: str, then: Callable[[], object] = lambda: None) -> None:
        """Loses the reply to the next run of the ledger's script, and then calls `then`, before
        the client retries.
        """
        # EVALSHA names a script by its SHA-1.
        digest = hashlib.sha1(script(operation).encode(), usedforsecurity=False)
        self.lose_answer_with((b"EVALSHA", digest.hexdigest().encode()), then)

    def lose_answer_with(
        self, parts: tuple[bytes, ...], then: Callable[[], object] = lambda: None
    ) -> None:
        """Loses the reply to the next command that has all these parts, and then calls `then`."""
        self.lost.clear()
        self._then = then
        self._lose_answer_to = parts

    def close(self) -> None:
        """Breaks all connections."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._pass_on, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, self._connected() as server, contextlib.suppress(OSError):
            losing = False
            while not self._closing.is_set():
                ready, _, _ = select.select([client, server], [], [], 0.1)
                for end in ready:
                    passed = end.recv(_BUFFER_BYTES)
                    if not passed:
                        return
                    if end is client:
                        parts = self._lose_answer_to
                        if parts and all(part in passed for part in parts):
                            losing, self._lose_answer_to = True, ()
                        server.sendall(passed)
                    elif losing:
                        self._then()
                        self.lost.set()
                        return
                    else:
                        client.sendall(passed)

    def _connected(self) -> socket.socket:
        if self._server.scheme != "unix":
            return socket.create_connection((self._server.hostname, self._server.port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._server.path)
        return server


@contextlib.contextmanager
def lossy_link(server_url: str) -> Iterator[LossyLink]:
    """A link that lasts until the block is left."""
    link = LossyLink(server_url)
    try:
        yield link
    finally:
        link.close()

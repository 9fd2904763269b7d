"""`python -m bench.load.http1 ADDRESS IN_FLIGHT SECONDS`: Add by a POST of JSON, again and again.

IN_FLIGHT calls are in flight at any time, each on its own connection, as HTTP/1.1 requires.
"""

from __future__ import annotations

import gc
import json
import selectors
import socket
import sys
import time
from collections import Counter

from bench import load

_READ_BYTES = 1 << 16
_SILENCE_S = 30.0
_BODY = b'{"x":4,"y":6}'
_SUM = 10


class Connection:
    """One connection, which makes one call after the other."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=_SILENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = (
            b"POST /forebay.compute.v1.ComputeService/Add HTTP/1.1\r\n"
            b"host: %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (address.encode(), len(_BODY), _BODY)
        )
        self._received = b""
        self._begun_at = 0.0

    def begin(self, now: float) -> None:
        """Sends the request; `now` is the call's start."""
        self._begun_at = now
        self.socket.sendall(self._request)

    def receive(self, now: float) -> tuple[float, str] | None:
        """Reads what has arrived; returns None until the answer is complete.

        Then it returns the call's time in seconds and its failure, empty if there is none.
        """
        data = self.socket.recv(_READ_BYTES)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return None
        self._received = b""
        return now - self._begun_at, _failure(head, body)


def measured(address: str, in_flight: int, seconds: float) -> load.Load:
    """Keeps `in_flight` calls in flight; raises TimeoutError if nothing is answered for 30 s."""
    times: list[float] = []
    failures: Counter[str] = Counter()
    calls, cpu_at_begin = 0, 0.0
    with selectors.DefaultSelector() as selector:
        window = load.Window(seconds)
        for _ in range(in_flight):
            connection = Connection(address)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.begin(time.perf_counter())
        now = time.perf_counter()
        while now < window.end:
            ready = selector.select(_SILENCE_S)
            if not ready:
                raise TimeoutError(f"no answer for {_SILENCE_S:g} s")
            for key, _ in ready:
                now = time.perf_counter()
                answered = key.data.receive(now)
                if answered is None:
                    continue
                took, failure = answered
                calls += 1
                if failure:
                    failures[failure] += 1
                elif window.counts(now):
                    cpu_at_begin = cpu_at_begin or time.process_time()
                    times.append(took)
                key.data.begin(now)
        cpu_s = time.process_time() - cpu_at_begin
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    return load.of_times(times, window, cpu_s, calls, failures)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise ValueError(f"an answer without a length: {head!r}")


def _failure(head: bytes, body: bytes) -> str:
    """The fault of the answer; empty if it is right."""
    status = head.split(b" ", 2)[1].decode()
    return "" if status == "200" and json.loads(body)["sum"] == _SUM else f"{status} {body[:99]!r}"


def main(arguments: list[str]) -> None:
    """Measures, and prints the result for `load.run`."""
    address, in_flight, seconds = arguments
    gc.disable()  # nothing here has cycles; a collection would show as the server's latency
    print(load.as_json(measured(address, int(in_flight), float(seconds))))


if __name__ == "__main__":
    main(sys.argv[1:])

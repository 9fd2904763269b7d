"""`python -m bench.load.grpc ADDRESS KIND IN_FLIGHT CONNECTIONS SECONDS`: one call, many times.

KIND is that of an Add: `ephemeral`, `durable` (each call has an id of its own) or `echo` (the
answer equals the request). Or it is `KIND:METHOD:SECONDS`, for a method of EchoService that sleeps.
IN_FLIGHT calls are in flight at any time: each answer starts a new call. For TLS, the
variables BENCH_TLS_* name the files of the server's CA and of this client's certificate and key.
BENCH_TOKEN is the bearer token of all calls; BENCH_TOKENS names a file of which each call takes the
next token, from the start again after the last.
"""

from __future__ import annotations

import gc
import os
import selectors
import socket
import ssl
import sys
import time
from collections import Counter
from itertools import cycle
from pathlib import Path

from bench import load
from bench.load.http2 import Call, ConnectionLost, Session
from forebay.compute.v1 import compute_pb2 as pb
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse

_READ_BYTES = 1 << 18
_SILENCE_S = 30.0
CA, CERTIFICATE, KEY = "BENCH_TLS_CA", "BENCH_TLS_CERTIFICATE", "BENCH_TLS_KEY"
BEARER, BEARERS = "BENCH_TOKEN", "BENCH_TOKENS"
_PATH = "/forebay.compute.v1.ComputeService/Add"
_ECHO_PATH = "/tests.echo.v1.EchoService/"


def call_of(kind: str) -> Call:
    """A call of this kind; an Add computes 4 + 6."""
    kind, _, sleeping = kind.partition(":")
    own_ids = kind == "durable"
    if sleeping:
        method, seconds = sleeping.split(":")
        request = EchoRequest(act="sleep", seconds=float(seconds)).SerializeToString()
        answer = EchoResponse(text="").SerializeToString()
        return Call(_ECHO_PATH + method, request, answer, own_ids=own_ids)
    request = pb.AddRequest(x=4, y=6).SerializeToString()
    answer = request if kind == "echo" else pb.AddResponse(sum=10).SerializeToString()
    return Call(_PATH, request, answer, own_ids=own_ids)


def measured(
    address: str, call: Call, in_flight: int, connections: int, seconds: float
) -> load.Load:
    """Keeps `in_flight` calls in flight over `connections` connections.

    Raises ConnectionLost if the server ends one, and TimeoutError if nothing comes for 30 s.
    """
    shares = [in_flight // connections + (i < in_flight % connections) for i in range(connections)]
    with selectors.DefaultSelector() as selector:
        window = load.Window(seconds)
        sessions: list[Session] = []
        for share in shares:
            connection, session = _connected(address), Session(call)
            sessions.append(session)
            selector.register(connection, selectors.EVENT_READ, session)
            session.begin(share, time.perf_counter())
            _send(connection, session)
        times, cpu_s, calls = _calls(selector, window)
        failures = sum((session.failures for session in sessions), Counter[str]())
        for key in list(selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
    return load.of_times(times, window, cpu_s, calls, failures)


def _calls(selector: selectors.BaseSelector, window: load.Window) -> tuple[list[float], float, int]:
    """The times of calls answered in the window, its CPU seconds, and the number of all answers."""
    counted: list[float] = []
    calls = 0
    cpu_at_begin = 0.0
    now = time.perf_counter()
    while now < window.end:
        ready = selector.select(_SILENCE_S)
        if not ready:
            raise TimeoutError(f"no answer for {_SILENCE_S:g} s")
        for key, _ in ready:
            connection, session = key.fileobj, key.data
            assert isinstance(connection, socket.socket)
            before = session.in_flight
            data = _received(connection)
            if not data:
                raise ConnectionLost("the server closed the connection")
            now = time.perf_counter()
            times = session.receive(data, now)
            calls += len(times)
            if window.counts(now):
                cpu_at_begin = cpu_at_begin or time.process_time()
                counted += times
            session.begin(before - session.in_flight, now)
            _send(connection, session)
    return counted, time.process_time() - cpu_at_begin, calls


def _connected(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=_SILENCE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if CA not in os.environ:
        return connection
    context = ssl.create_default_context(cafile=os.environ[CA])
    context.load_cert_chain(os.environ[CERTIFICATE], os.environ[KEY])
    context.set_alpn_protocols(["h2"])
    return context.wrap_socket(connection, server_hostname=host)


def _received(connection: socket.socket) -> bytes:
    """The bytes that have arrived, also those that OpenSSL holds where the selector sees none."""
    data = connection.recv(_READ_BYTES)
    while isinstance(connection, ssl.SSLSocket) and connection.pending():
        data += connection.recv(_READ_BYTES)
    return data


def _send(connection: socket.socket, session: Session) -> None:
    if session.outgoing:
        connection.sendall(session.outgoing)
        session.outgoing.clear()


def main(arguments: list[str]) -> None:
    """Measures, and prints the result for `load.run`."""
    address, kind, in_flight, connections, seconds = arguments
    gc.disable()  # nothing here has cycles; a collection would show as the server's latency
    call = call_of(kind)
    if BEARER in os.environ:
        call.headers = (*call.headers, ("authorization", f"Bearer {os.environ[BEARER]}"))
    if BEARERS in os.environ:
        tokens = Path(os.environ[BEARERS]).read_bytes().split()
        call.own_headers.append((b"authorization", cycle(b"Bearer " + token for token in tokens)))
    found = measured(address, call, int(in_flight), int(connections), float(seconds))
    print(load.as_json(found))


if __name__ == "__main__":
    main(sys.argv[1:])

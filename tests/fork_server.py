"""Starts `forebay` and `celery` by forks of a process that has imported what they import.

`python tests/fork_server.py FD`: FD is a socket to whoever asks (see `forking.py`). Importing is
most of what such a process costs, and the suite starts many hundreds. A fork has the
command's arguments, environment, folder, session and output, like a process that was started from
nothing; it has none of ours, whose path and package `tests` it does not see.

Messages are JSON, a line each. Asked is `{"command": [...], "env": {...}, "cwd": "..."}`, with the
descriptors of its standard streams; told is `{"pid": ...}`, in the same order, and
`{"ended": pid, "code": ...}` of each.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

PROGRAMS = {"forebay": ("forebay.cli", "main"), "celery": ("celery.__main__", "main")}
"""The entry point of each program's console script."""

# Not NumPy, whose BLAS starts threads, and no modules of a test's own application.
_IMPORTED = (
    *("celery.__main__", "celery.bin.celery", "celery.apps.worker", "celery.worker.consumer"),
    *("celery.concurrency.prefork", "celery.concurrency.thread", "celery.concurrency.solo"),
    *("celery.worker.strategy", "celery.worker.request", "celery.events.state"),
    *("kombu.transport.redis", "kombu.transport.pyamqp"),
    *("forebay.cli.group", "forebay.cli.call", "forebay.cli.operations", "forebay.cli.ps"),
    *("forebay.compute.v1.compute_pb2", "forebay.compute.checks", "forebay_workers.application"),
    *(
        "forebay_workers.lease.keeper",
        "forebay_gateway.cli.commands",
        "forebay_gateway.cli.import_app.command",
        "forebay_gateway.cli.doctor",
        "forebay_gateway.cli.keys",
        "forebay_gateway.cli.run",
        "forebay_gateway.fronts.native.front",
        "forebay_gateway.server.web_surface",
        "forebay_gateway.web.listener",
    ),
    *("forebay_gateway.plain.calls", "google.rpc.error_details_pb2"),
)
_READ_BYTES = 1 << 20
_STREAMS = 3


def main() -> None:
    """Serves until the socket is closed; in a fork, runs the program."""
    import_module("forebay.cli").silence_grpc_core()
    for name in _IMPORTED:
        import_module(name)
    # A fork that ends looks through all objects that are not frozen, which takes 0.4 s here.
    gc.collect()
    gc.freeze()
    line = socket.socket(fileno=int(sys.argv[1]))
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    while True:
        ready, _, _ = select.select([line, woken], [], [])
        if woken in ready:
            os.read(woken, _READ_BYTES)
            _tell_of_ended(line)
        if line not in ready:
            continue
        asked, streams = _received(line)
        if asked is None:
            return
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in (woken, wake):
                os.close(descriptor)
            line.close()
            _become(asked, streams)
        for stream in streams:
            os.close(stream)
        _tell(line, {"pid": pid})


def _received(line: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """The next request, and its streams; None at the end."""
    text, streams, _, _ = socket.recv_fds(line, _READ_BYTES, _STREAMS)
    while text and not text.endswith(b"\n"):
        text += line.recv(_READ_BYTES)
    return (json.loads(text) if text else None), streams


def _tell(line: socket.socket, reply: dict[str, Any]) -> None:
    line.sendall(json.dumps(reply).encode() + b"\n")


def _tell_of_ended(line: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _tell(line, {"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _become(asked: dict[str, Any], streams: list[int]) -> None:
    """Runs the requested program, and exits with its exit code."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    program = Path(asked["command"][0]).name
    module, function = PROGRAMS[program]
    scripts = Path(sys.executable).parent
    sys.path[0] = str(scripts)
    sys.argv = [str(scripts / program), *asked["command"][1:]]
    sys.exit(getattr(import_module(module), function)())


if __name__ == "__main__":
    main()

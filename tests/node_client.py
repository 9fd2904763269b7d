"""Calls by the client in clients/node: each is a process, driven by clients/node/test/driver.ts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from tests.commands import run
from tests.echo.v1 import echo_pb2
from tests.harness import environment
from tests.npm import installed
from tests.web_clients import descriptor_set

SOURCE = Path(__file__).parents[1] / "clients" / "node"
TIMEOUT_S = 60.0
_DESCRIPTORS = "echo.binpb"


def built(folder: Path) -> Path:
    """A copy of the package in the folder, generated and compiled."""
    client = installed(SOURCE, folder)
    for script in ("generate", "build"):
        run("npm", "run", "--silent", script, env=environment(), cwd=client).succeeded()
    (client / _DESCRIPTORS).write_bytes(descriptor_set(echo_pb2.DESCRIPTOR))
    return client


class NodeCall:
    """A running call of EchoService. `header` and `retries` are filled in as they arrive.

    If the method takes one request and `node_call` got none, each request that is sent is a call.
    """

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self._popen = popen
        self.header: dict[str, str] = {}
        self.retries: list[dict[str, str]] = []
        self.end: dict[str, Any] = {}

    def responses(self) -> Iterator[dict[str, Any]]:
        """The responses; ends with the call."""
        for line in self._lines():
            if "response" in line:
                yield line["response"]

    def begun(self) -> str:
        """Waits for the header; returns the call's id."""
        next(line for line in self._lines() if "header" in line)
        return self.header["forebay-call-id"]

    def failed(self) -> dict[str, Any]:
        """Waits for the end; returns code, reason and message."""
        assert list(self.responses()) == []
        return self.end

    def send(self, request: Message) -> None:
        """Sends a request of a stream."""
        self._tell(request=MessageToDict(request))

    def done_writing(self) -> None:
        self._tell(end=True)

    def fail(self) -> None:
        """The iterable of the requests throws."""
        self._tell(fail=True)

    def cancel(self) -> None:
        """Aborts the call's signal."""
        self._tell(cancel=True)

    def close(self) -> None:
        """Closes the transport."""
        self._tell(close=True)

    def _tell(self, **line: Any) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(f"{json.dumps(line)}\n")
        self._popen.stdin.flush()

    def _lines(self) -> Iterator[dict[str, Any]]:
        assert self._popen.stdout is not None
        if self.end:
            return
        for text in self._popen.stdout:
            line: dict[str, Any] = json.loads(text)
            self.header = line.get("header", self.header)
            self.end = line.get("end", self.end)
            if "retry" in line:
                self.retries.append(line["retry"])
            yield line
            if self.end:
                return
        raise AssertionError("the process ended before its call")


@contextmanager
def node_call(
    client: Path,
    targets: Sequence[str],
    method: str,
    request: Message | None = None,
    call_id: str = "",
    **wishes: Any,
) -> Iterator[NodeCall]:
    """Starts a call of EchoService. After the block and the call, the transport is closed.

    The process must then end by itself.
    """
    wish = {
        "targets": list(targets),
        "descriptors": _DESCRIPTORS,
        "service": echo_pb2.DESCRIPTOR.services_by_name["EchoService"].full_name,
        "method": method,
        "request": None if request is None else MessageToDict(request),
        "headers": {"forebay-call-id": call_id} if call_id else {},
        "timeoutMs": TIMEOUT_S * 1000,
        **wishes,
    }
    popen = subprocess.Popen(
        ["node", "dist/test/driver.js", json.dumps(wish)],
        cwd=client,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with popen:
        try:
            call = NodeCall(popen)
            yield call
            list(call.responses())
            assert popen.stdin is not None
            popen.stdin.close()
            assert popen.wait(TIMEOUT_S / 2) == 0  # the timer of a deadline would keep it longer
        finally:
            popen.kill()

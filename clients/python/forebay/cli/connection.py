"""Connects to one of the servers at `--target` before a command begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import click
import grpc

from forebay.channels import dial
from forebay.cli.ctrl_c import CancelOnCtrlC
from forebay.cli.errors import doctor_hint
from forebay.cli.target import Target
from forebay.cli.tls_problems import tls_problem
from forebay.resume.targets import read_targets
from forebay.timers import if_longer

_HEALTH = "/grpc.health.v1.Health/Check"
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
# The limit for a host that drops packets, or a server that accepts but sends nothing.
_CONNECT_TIMEOUT_S = 1.5
# A server that has accepted the connection may be busy.
_ANSWER_TIMEOUT_S = 10.0
_SLOW_S = 2.0
"""After this time without an answer, the command prints what it waits for."""

_CONNECT_TIMEOUT_MS = round(1000 * _CONNECT_TIMEOUT_S)
CONNECT_OPTIONS = (
    ("grpc.min_reconnect_backoff_ms", _CONNECT_TIMEOUT_MS),
    ("grpc.max_reconnect_backoff_ms", _CONNECT_TIMEOUT_MS),
    ("grpc.dns_ares_query_timeout", _CONNECT_TIMEOUT_MS),
)
"""Channel options that make a failing connection fail soon."""

_REFUSED = "Connection refused"
_SILENT = f"it accepts connections, but said nothing for {_CONNECT_TIMEOUT_S:g} s"
_NO_CONNECTION = f"no connection within {_CONNECT_TIMEOUT_S:g} s"
_TIMED_OUT = {
    "connect() timed out": _NO_CONNECTION,
    "tcp handshaker shutdown": _NO_CONNECTION,
    "timed out before receiving SETTINGS frame": _SILENT,
    "Endpoint closing": _SILENT,  # in the TLS handshake
}
"""Plain words, for users who do not know HTTP/2, for parts of gRPC's messages."""
_NOT_HTTP2 = "Expected SETTINGS frame"


@dataclass(frozen=True)
class Problem:
    """Why a server does not answer, on one line. A TLS problem includes the fix."""

    text: str
    is_of_tls: bool = False


class NoServer(click.ClickException):
    """No server answers at the target; `problems` has the reason for each address."""

    def __init__(self, problems: Mapping[str, Problem], hint: str) -> None:
        described = "; ".join(f"{address}: {one.text}" for address, one in problems.items())
        self.problem = f"no gateway answers at {described}"
        self.problems = problems
        super().__init__(f"UNAVAILABLE: {self.problem}\n  {hint}")


@dataclass(frozen=True)
class Server:
    """A gRPC server that has answered; `target` is its address."""

    target: str
    channel: grpc.Channel


def _tell(text: str) -> None:
    click.echo(text, err=True)


@contextmanager
def server_at(
    target: Target, ctrl_c: CancelOnCtrlC, on_slow: Callable[[str], None] = _tell
) -> Iterator[Server]:
    """Yields the first server that answers; raises NoServer, within 3 s if none accepts.

    If a server has accepted the connection but not answered within 3 s, `on_slow` is called with a
    line of text. Raises ClickException if a file of the target can't be used.
    """
    credentials, token = target.credentials(), target.token()
    with ExitStack() as stack:
        channels = {
            one: stack.enter_context(dial(one, credentials, token, CONNECT_OPTIONS))
            for one in read_targets(target.addresses)
        }
        slow = f"waiting up to {_ANSWER_TIMEOUT_S:g} s for {target} to answer"
        with if_longer(_SLOW_S, on_slow, slow):
            address = _first_to_answer(channels, target, ctrl_c)
        yield Server(address, channels[address])


def _first_to_answer(
    channels: Mapping[str, grpc.Channel], target: Target, ctrl_c: CancelOnCtrlC
) -> str:
    answers: SimpleQueue[tuple[str, Any]] = SimpleQueue()
    for address, channel in channels.items():
        # Any answer shows that a server is there; it may not have the service.
        check: Any = channel.unary_unary(_HEALTH)
        call = check.future(b"", timeout=_ANSWER_TIMEOUT_S)
        call.add_done_callback(lambda call, address=address: answers.put((address, call)))
    problems: dict[str, Problem] = {}
    for _ in channels:
        address, call = ctrl_c.next_of(answers)
        if call.code() not in _AWAY:
            return address
        problems[address] = (
            Problem(f"no answer within {_ANSWER_TIMEOUT_S:g} s")
            if call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            else why_unavailable(call.details(), address, target)
        )
    raise NoServer({address: problems[address] for address in channels}, doctor_hint(target))


def why_unavailable(details: str, address: str, target: Target) -> Problem:
    """The reason for gRPC's UNAVAILABLE; may open another connection, which takes up to 2 s.

    Example of `details`: "…; last error: …: Failed to connect to remote host: Connection refused".
    """
    reason = details.rpartition(": ")[2].strip("[]")
    for words, plain in _TIMED_OUT.items():
        if words in reason:
            return Problem(plain)
    if reason == _REFUSED:
        return Problem(reason)
    problem = tls_problem(address, target)
    if problem is not None:
        return Problem(problem, is_of_tls=True)
    return Problem("it speaks another protocol than gRPC" if _NOT_HTTP2 in reason else reason)

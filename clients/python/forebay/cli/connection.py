"""The connection to one of the servers at `--target`, tried before a command begins."""

from __future__ import annotations

from collections.abc import Iterator
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

_HEALTH = "/grpc.health.v1.Health/Check"
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
# A host that drops packets, and a server that does not speak HTTP/2, are given up after this time.
_CONNECT_TIMEOUT_MS = 1500
# A server that has accepted the connection may be busy.
_ANSWER_TIMEOUT_S = 10.0
# Of these, TLS is not the cause.
_NOT_CONNECTED = ("Connection refused", "connection attempt timed out")
_OPTIONS = (
    ("grpc.min_reconnect_backoff_ms", _CONNECT_TIMEOUT_MS),
    ("grpc.max_reconnect_backoff_ms", _CONNECT_TIMEOUT_MS),
    ("grpc.dns_ares_query_timeout", _CONNECT_TIMEOUT_MS),
)


class NoServer(click.ClickException):
    """No server answers at the target; `problem` is the reason on one line."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(f"UNAVAILABLE: {problem}\n  {hint}")
        self.problem = problem


@dataclass(frozen=True)
class Server:
    """A gRPC server that has answered; `target` is its address."""

    target: str
    channel: grpc.Channel


@contextmanager
def server_at(target: Target, ctrl_c: CancelOnCtrlC) -> Iterator[Server]:
    """The first of the servers that answers; raises NoServer, within 3 s if none accepts.

    Raises ClickException if a file of the target can't be used.
    """
    credentials, token = target.credentials(), target.token()
    with ExitStack() as stack:
        channels = {
            one: dial(one, credentials, token, _OPTIONS) for one in read_targets(target.addresses)
        }
        for channel in channels.values():
            stack.enter_context(channel)
        answers: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        for one, channel in channels.items():
            # Any answer shows that a server is there; it may not have the service.
            check: Any = channel.unary_unary(_HEALTH)
            call = check.future(b"", timeout=_ANSWER_TIMEOUT_S)
            call.add_done_callback(lambda call, one=one: answers.put((one, call)))
        problems = {}
        for _ in channels:
            one, call = ctrl_c.next_of(answers)
            if call.code() not in _AWAY:
                yield Server(one, channels[one])
                return
            problems[one] = _reason(call, one, target)
    described = "; ".join(f"{one}: {problems[one]}" for one in channels)
    raise NoServer(f"no gateway answers at {described}", doctor_hint(target))


def _reason(call: Any, address: str, target: Target) -> str:
    """Example: gRPC's "…; last error: …: Failed to connect to remote host: Connection refused"."""
    if call.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"no answer within {_ANSWER_TIMEOUT_S:g} s"
    reason: str = call.details().rpartition(": ")[2].strip("[]")
    if reason.endswith(_NOT_CONNECTED):
        return reason
    return tls_problem(address, target) or reason

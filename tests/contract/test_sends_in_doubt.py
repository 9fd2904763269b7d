"""Ephemeral calls whose message reached the broker, although the gateway got no answer.

The calls are of methods that may not run again. The client of Redis sends twice, so both answers
are lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from forebay.errors import ForebayError
from forebay.rpc_errors import of_rpc_error
from tests.contract.lossy import LossyLink, lossy_link
from tests.echo.gates import TIMEOUT_S, Gates
from tests.echo.running import (
    COROUTINES_APP,
    ECHO_APP,
    echo_environment,
    echo_gateway,
    echo_worker,
)
from tests.echo.v1 import echo_pb2
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process, eventually

METHOD = "Quick"
PUSH, MARK = b"echo.quick", b"forebay:{fleet}:begun:"
"""Parts of the commands that push the message, and that withdraw it."""


@dataclass(frozen=True)
class Site:
    """A gateway that reaches its server through the link; workers with `env` reach it directly."""

    stub: EchoServiceStub
    gateway: Process
    link: LossyLink
    env: dict[str, str]

    def lose_answers(self, *commands: bytes, then: Callable[[], object] = lambda: None) -> None:
        """Loses the answers to the commands with these parts, in this order, and calls `then`."""
        command, *more = commands
        self.link.lose_answer_with(
            (command,), lambda: self.lose_answers(*more, then=then) if more else then()
        )


@pytest.fixture(scope="module")
def site(redis_url: str) -> Iterator[Site]:
    method = echo_pb2.DESCRIPTOR.services_by_name["EchoService"].methods_by_name[METHOD]
    assert not method.GetOptions().idempotency_level
    url = f"{redis_url}7"
    with lossy_link(url) as link:
        env = echo_environment(FOREBAY_LEDGER_URL=url, FOREBAY_QUEUE_WAIT_S="60")
        with (
            echo_gateway({**env, "FOREBAY_LEDGER_URL": link.url}) as (gateway, address),
            grpc.insecure_channel(address) as channel,
        ):
            yield Site(EchoServiceStub(channel), gateway, link, env)


@pytest.fixture
def gates(tmp_path: Path) -> Gates:
    return Gates(tmp_path)


def refused(site: Site, gates: Gates, name: str) -> ForebayError:
    error = of_rpc_error(gates.call(site.stub, METHOD, name).exception())
    assert (error.code_name, error.reason) == ("UNAVAILABLE", "BACKEND_UNAVAILABLE")
    return error


@pytest.mark.parametrize(
    ("pool", "app"),
    [
        ("threads", ECHO_APP),
        pytest.param("asyncio", COROUTINES_APP, marks=pytest.mark.variant),
    ],
)
def test_a_call_that_was_refused_does_not_run_later(
    site: Site, gates: Gates, pool: str, app: str
) -> None:
    site.lose_answers(PUSH, PUSH)
    assert refused(site, gates, "refused").retry_after_s is not None
    gates.open("refused")
    gates.open("next")
    with echo_worker(site.env, pool, slots=1, app=app):
        assert gates.call(site.stub, METHOD, "next").result().text == "next"
    assert gates.begun() == ["next"]


def test_a_call_that_a_worker_has_begun_is_answered(site: Site, gates: Gates) -> None:
    with echo_worker(site.env, slots=1):
        site.lose_answers(PUSH, PUSH, then=lambda: eventually(gates.begun, "the handler has begun"))
        call = gates.call(site.stub, METHOD, "begun")
        site.gateway.wait_for("was begun, although sending it failed")
        gates.open("begun")
        assert call.result().text == "begun"
    assert gates.begun() == ["begun"]


def test_a_call_that_may_still_run_is_refused_without_a_retry_info(
    site: Site, gates: Gates
) -> None:
    """The gateway does not learn whether it has withdrawn the message."""
    lost = threading.Event()
    site.lose_answers(PUSH, PUSH, MARK, MARK, then=lost.set)
    assert refused(site, gates, "in doubt").retry_after_s is None
    assert lost.wait(TIMEOUT_S)

"""Identical calls share a run, over two gateways and on every pair of backends.

The handler waits at a gate, so that "while the run goes on" does not depend on timing.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from forebay.rpc_errors import of_rpc_error
from tests.echo.running import echo_environment, echo_gateway, echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse, EchoStatus, Gate
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually, short_folder

TIMEOUT_S = 60.0
CACHES = {
    "tests.echo.v1.EchoService.Steady": {
        "ttl": "60s",
        "ignore_fields": ["ballast"],
        "only_with_fields": ["text"],
    }
}
FRESH = [("forebay-cache-control", "no-cache")]


@dataclass(frozen=True)
class System:
    """Two gateways and a worker on one ledger."""

    stubs: tuple[EchoServiceStub, EchoServiceStub]
    folder: Path

    def gated(self) -> tuple[EchoRequest, Path]:
        """A request unlike all others, whose handler waits, and the file that opens the gate."""
        name = str(uuid.uuid4())
        gate = self.folder / name
        return EchoRequest(text=name, count=2, gate=Gate(path=str(gate), before=1)), gate

    def start(self, request: EchoRequest, gateway: int = 0, **options: Any) -> Any:
        return self.stubs[gateway].Steady(request, **{"timeout": TIMEOUT_S, **options})


@pytest.fixture(scope="module")
def system(backend: dict[str, str]) -> Iterator[System]:
    env = echo_environment(**backend, FOREBAY_CACHES=json.dumps(CACHES), FOREBAY_LINGER_S="0")
    with ExitStack() as stack:
        stubs = []
        for _ in range(2):
            _, address = stack.enter_context(echo_gateway(env))
            stubs.append(EchoServiceStub(stack.enter_context(grpc.insecure_channel(address))))
        stack.enter_context(echo_worker(env))
        yield System((stubs[0], stubs[1]), stack.enter_context(short_folder()))


def initial(call: Any) -> dict[str, str]:
    """Waits for the initial metadata: by then the call has a run."""
    return {str(key): str(value) for key, value in call.initial_metadata()}


def kind(call: Any) -> str | None:
    return initial(call).get("forebay-cache")


def items(call: Any) -> list[EchoResponse]:
    return [item for item in call if not item.transient]


def test_a_hundred_identical_calls_at_once_are_one_run(system: System) -> None:
    request, gate = system.gated()
    calls = [system.start(request, gateway=number % 2) for number in range(100)]
    assert Counter(map(kind, calls)) == {"new": 1, "running": 99}
    assert len({initial(call)["forebay-call-id"] for call in calls}) == 1
    gate.touch()
    expected = [EchoResponse(text=request.text, index=index) for index in range(2)]
    assert all(items(call) == expected for call in calls)
    assert all(dict(call.trailing_metadata())["forebay-attempts"] == "1" for call in calls)
    later = system.start(request)
    assert (kind(later), items(later)) == ("finished", expected)


def test_other_requests_have_other_runs_unless_they_differ_in_ignored_fields(
    system: System,
) -> None:
    text = str(uuid.uuid4())
    found = []
    for request in (
        EchoRequest(text=text, count=1),
        EchoRequest(text=text, count=1, ballast=b"b"),
        EchoRequest(text=text, count=2),
    ):
        call = system.start(request)
        assert len(items(call)) == request.count
        found.append(kind(call))
    assert found == ["new", "finished", "new"]
    assert kind(system.start(EchoRequest(count=1))) is None  # without the field that must be set


@pytest.mark.parametrize("gateway", [0, 1])
@pytest.mark.parametrize("timeout_s", [5.0, TIMEOUT_S])
def test_a_caller_that_leaves_does_not_end_the_run_for_others(
    system: System, timeout_s: float, gateway: int
) -> None:
    """Neither at its deadline, nor when it cancels, though runs do not linger without callers."""
    request, gate = system.gated()
    first = system.start(request, timeout=timeout_s)
    assert kind(first) == "new"
    staying = system.start(request, gateway=gateway)
    assert kind(staying) == "running"
    if timeout_s == TIMEOUT_S:
        first.cancel()
    with pytest.raises(grpc.RpcError):
        items(first)
    items(system.start(EchoRequest(text=str(uuid.uuid4()), count=1)))  # handled after the cancel
    gate.touch()
    assert len(items(staying)) == 2


def test_a_call_that_joins_as_the_last_caller_leaves_is_not_cancelled_with_it(
    system: System,
) -> None:
    for _ in range(20):
        request, gate = system.gated()
        first = system.start(request)
        assert kind(first) == "new"
        first.cancel()
        joining = system.start(request)
        assert kind(joining) in ("new", "running")
        gate.touch()
        assert len(items(joining)) == 2


def test_the_run_is_cancelled_when_its_last_caller_has_left(system: System) -> None:
    request, _ = system.gated()
    calls = [system.start(request, gateway=gateway) for gateway in (0, 1)]
    run = {initial(call)["forebay-call-id"] for call in calls}
    assert len(run) == 1
    for call in calls:
        call.cancel()

    def begins_anew() -> bool:
        call = system.start(request)
        begun = kind(call) == "new"
        call.cancel()
        return begun

    eventually(begins_anew, "the run is cancelled")


def test_a_run_that_fails_is_not_kept(system: System) -> None:
    request = EchoRequest(text=str(uuid.uuid4()), count=1, status=EchoStatus(code=5))
    for gateway in (0, 1):
        call = system.start(request, gateway=gateway)
        with pytest.raises(grpc.RpcError) as caught:
            items(call)
        assert of_rpc_error(caught.value).code_name == "NOT_FOUND"
        assert kind(call) == "new"


def test_a_caller_can_begin_a_new_run_which_replaces_the_old_one(system: System) -> None:
    request, gate = system.gated()
    old = system.start(request)
    assert kind(old) == "new"
    new = system.start(request, gateway=1, metadata=FRESH)
    assert kind(new) == "new"
    assert initial(new)["forebay-call-id"] != initial(old)["forebay-call-id"]
    joined = system.start(request)
    assert initial(joined)["forebay-call-id"] == initial(new)["forebay-call-id"]
    gate.touch()
    assert items(old) == items(new) == items(joined)


def test_a_unary_call_shares_a_run_by_its_request_and_forwarded_metadata(system: System) -> None:
    text = str(uuid.uuid4())

    def called(gateway: int, **more: Any) -> str | None:
        request = EchoRequest(text=text, ballast=uuid.uuid4().bytes)
        response, call = system.stubs[gateway].Cached.with_call(request, timeout=TIMEOUT_S, **more)
        assert response.text == text
        return kind(call)

    tea = {"metadata": [("x-wish", "tea")]}
    assert [called(0), called(1), called(0, **tea), called(1, **tea)] == [
        *("new", "finished", "new", "finished")
    ]
    calls = [
        system.stubs[number % 2].Cached.future(EchoRequest(text=f"{text} once"), timeout=TIMEOUT_S)
        for number in range(30)
    ]
    assert {call.result().text for call in calls} == {f"{text} once"}
    assert Counter(map(kind, calls))["new"] == 1
    assert len({initial(call)["forebay-call-id"] for call in calls}) == 1

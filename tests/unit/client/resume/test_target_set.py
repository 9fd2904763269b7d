"""Cancelling the calls of a resuming channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from forebay.errors import BackendUnavailable
from forebay.resume.policy import ResumePolicy
from forebay.resume.stub_services import StubServices
from forebay.resume.target_set import TargetSet
from forebay.routes import NO_ROUTES
from tests.unit.samples import COMPUTE

PATH = f"/{COMPUTE.full_name}/Factorial"
TARGETS = 3


class Channel:
    """Its multi-callables are its number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def unary_unary(self, path: str) -> int:
        return self.number


class Call:
    """A call whose attempts the test makes."""

    def __init__(
        self,
        policy: ResumePolicy,
        _rpc: Any,
        _request: Any,
        _options: Any,
        on_cancel: Callable[..., None],
    ) -> None:
        self.policy = policy
        self._on_cancel = on_cancel

    def cancel(self) -> None:
        self._on_cancel(self.policy)


class Cancels:
    """Keeps the targets that CancelOperation is sent to."""

    def __init__(self) -> None:
        self.targets: list[int] = []

    def send(self, rpc: int, request: bytes) -> None:
        self.targets.append(rpc)


@pytest.mark.parametrize(("on_disconnect", "turns"), [("cancel", 1), ("detach", 0)])
def test_a_cancelled_call_takes_a_turn_of_the_targets_only_if_it_is_cancelled_on_a_gateway(
    on_disconnect: str, turns: int
) -> None:
    cancels, services = Cancels(), StubServices(None, NO_ROUTES)
    channels = [Channel(number) for number in range(TARGETS)]
    targets: Any = TargetSet(channels, Call, cancels, resumes=True, services=services)
    metadata = (("forebay-on-disconnect", on_disconnect),)
    call = targets.begin(targets.rpc("unary_unary", PATH), None, None, metadata, {})
    first = call.policy.attempt().target
    call.policy.on_failure(BackendUnavailable("lost"))
    targets.cancel_calls()
    others = [(first + step) % TARGETS for step in (1, 2)]
    assert cancels.targets == others[:turns]
    assert call.policy.attempt().target == others[turns]

"""Calls that are dropped without the SDK, and those that it is asked about."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    set_span_in_context,
)

from forebay_backends.telemetry.rpc_span import RpcSpan, UnsampledRoot
from forebay_backends.telemetry.sampling import NOTHING, DecidedSampler
from forebay_backends.telemetry.spans import Tracing
from forebay_backends.telemetry.trace_context import TraceContext

HALF = 1 << 63
"""`TraceIdRatioBased(0.5)` samples the ids whose low 64 bits are less."""
CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"


class Ids(IdGenerator):
    """Trace ids that count up from the given one."""

    def __init__(self, first: int) -> None:
        self._next = first

    def generate_trace_id(self) -> int:
        self._next += 1
        return self._next - 1

    def generate_span_id(self) -> int:
        return 7


class Asked(Sampler):
    """Drops everything, and keeps the ids that it was asked about."""

    def __init__(self) -> None:
        self.ids: list[int] = []

    def should_sample(
        self, parent_context: Any, trace_id: int, *_: Any, **__: Any
    ) -> SamplingResult:
        self.ids.append(trace_id)
        return SamplingResult(Decision.DROP)

    def get_description(self) -> str:
        return "Asked"


def rpc(sampler: Sampler, first_id: int, *caller: tuple[str, str]) -> RpcSpan:
    provider = TracerProvider(sampler=sampler, id_generator=Ids(first_id))
    return Tracing(provider).rpc("shop.Orders.Place", caller, lambda: False)


@pytest.mark.parametrize(
    ("variable", "drops_highest", "drops_lowest"),
    [
        ("always_off", True, True),
        ("parentbased_always_off", True, True),
        ("traceidratio", True, False),
        ("parentbased_traceidratio", True, False),
        ("always_on", False, False),
        ("parentbased_always_on", False, False),
    ],
)
def test_each_sampler_of_the_variables_is_known(
    monkeypatch: pytest.MonkeyPatch, variable: str, drops_highest: bool, drops_lowest: bool
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", variable)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    sampler = DecidedSampler(TracerProvider().sampler)
    assert sampler.drops(HALF) is drops_highest
    assert sampler.drops(HALF - 1) is drops_lowest


@pytest.mark.parametrize("caller", [(), (("traceparent", f"00-{CALLER}-00f067aa0ba902b7-01"),)])
@pytest.mark.parametrize(("drawn", "is_sampled"), [(HALF, False), (HALF - 1, True)])
def test_the_id_that_was_drawn_decides_once(
    drawn: int, is_sampled: bool, caller: tuple[tuple[str, str], ...]
) -> None:
    span = rpc(ParentBased(TraceIdRatioBased(0.5)), drawn, *caller)
    assert span.is_recording is is_sampled
    is_root = isinstance(span, UnsampledRoot)
    assert is_root is (not is_sampled and not caller)
    trace_id = CALLER if caller else f"{drawn:032x}"
    known = f"00-{trace_id}-{7:016x}-{is_sampled:02x}"
    assert span.traceparent == ("" if is_root else known)


PARENTS = [None, *itertools.product(("00", "01", "02", "03"), (True, False))]


@pytest.mark.parametrize("parent", PARENTS, ids=str)
@pytest.mark.parametrize("trace_id", [1, HALF - 1, HALF, 2 * HALF - 1, 2 * HALF])
@pytest.mark.parametrize(
    "variable",
    [
        *("always_off", "always_on", "traceidratio"),
        *("parentbased_always_off", "parentbased_always_on", "parentbased_traceidratio"),
    ],
)
def test_the_decision_is_the_samplers_own(
    monkeypatch: pytest.MonkeyPatch, variable: str, trace_id: int, parent: tuple[str, bool] | None
) -> None:
    """`parent` has the flags of the parent, and whether it is remote."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", variable)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    own = TracerProvider().sampler
    sampler = DecidedSampler(own)
    assert sampler.is_known
    above, samples = INVALID_SPAN_CONTEXT, not sampler.drops(trace_id)
    if parent is not None:
        flags, is_remote = parent
        text = TraceContext(f"00-{trace_id:032x}-{9:016x}-{flags}", is_remote=is_remote)
        above, samples = text.span_context, sampler.samples(text)
    context = set_span_in_context(NonRecordingSpan(above), NOTHING)
    assert own.should_sample(context, trace_id, "name").decision.is_sampled() is samples


@pytest.mark.parametrize(
    "sampler",
    [
        Asked(),
        ParentBased(Asked()),
        ParentBased(ALWAYS_ON, remote_parent_not_sampled=ALWAYS_ON),
    ],
)
def test_other_samplers_are_not_known(sampler: Sampler) -> None:
    assert not DecidedSampler(sampler).is_known


@pytest.mark.parametrize("wrap", [lambda sampler: sampler, ParentBased])
def test_an_unknown_sampler_is_asked(wrap: Any) -> None:
    asked = Asked()
    span = rpc(wrap(asked), 5)
    assert asked.ids == [5]
    assert span.traceparent == f"00-{5:032x}-{7:016x}-00"


class Contrary(ParentBased):
    """A sampler of someone else's that samples what its root does not."""

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        return ALWAYS_ON.should_sample(*args, **kwargs)


def test_a_sampler_with_rules_of_its_own_is_asked() -> None:
    assert rpc(Contrary(ALWAYS_OFF), 5).is_recording


def test_the_next_trace_has_an_id_of_its_own() -> None:
    tracing = Tracing(TracerProvider(sampler=ALWAYS_ON, id_generator=Ids(5)))
    spans = [tracing.rpc("shop.Orders.Place", (), lambda: True) for _ in range(2)]
    assert [span.traceparent[3:35] for span in spans] == [f"{5:032x}", f"{6:032x}"]

"""Which calls are sampled: as the provider's sampler says, without asking it where that can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    Decision,
    ParentBased,
    ParentBasedTraceIdRatio,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)

from forebay_backends.telemetry.trace_context import ParentContext, trace_id_of

NOTHING = Context()

_DECISION = "forebay-sampling"
_SAMPLED = "sampled"
_FOLLOWING = (DEFAULT_ON, DEFAULT_OFF)
_LOW_BITS = TraceIdRatioBased.TRACE_ID_LIMIT


def sampled(context: Context) -> Context:
    """The context in which a span is sampled, like the call that it belongs to."""
    return otel_context.set_value(_DECISION, _SAMPLED, context)


def decided_by(trace_id: int, context: Context) -> Context:
    """The context in which the sampler decides as if a trace with this id began.

    For a parent that is not trusted: its caller could choose an id that is always sampled.
    """
    return otel_context.set_value(_DECISION, trace_id, context)


class DecidedSampler(Sampler):
    """The provider's sampler, except for contexts that contain a decision."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._bound = _bound(sampler)
        self._follows_parent = sampler in _FOLLOWING or type(sampler) is ParentBasedTraceIdRatio
        self.is_known = self._follows_parent or (
            self._bound is not None and not isinstance(sampler, ParentBased)
        )
        """Whether `samples` decides as the sampler does."""
        self.drops_all = self._bound == 0
        """Whether every trace that begins here is surely unsampled."""

    def samples(self, parent: ParentContext) -> bool:
        """Whether a span below `parent` is sampled; only for a sampler that is known."""
        if self._follows_parent:
            return parent.is_sampled
        return not self.drops(trace_id_of(parent.traceparent))

    def drops(self, trace_id: int) -> bool:
        """Whether a trace that begins with this id is surely unsampled; cheaper than asking."""
        return self._bound is not None and trace_id & _LOW_BITS >= self._bound

    def should_sample(
        self, parent_context: Context | None, trace_id: int, *args: Any, **kwargs: Any
    ) -> SamplingResult:
        decision: Any = None if parent_context is None else parent_context.get(_DECISION)
        if decision is None:
            return self._sampler.should_sample(parent_context, trace_id, *args, **kwargs)
        state = trace.get_current_span(parent_context).get_span_context().trace_state
        if decision == _SAMPLED:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, _attributes(args, kwargs), state)
        result = self._sampler.should_sample(NOTHING, decision, *args, **kwargs)
        return SamplingResult(result.decision, result.attributes, state)

    def get_description(self) -> str:
        return self._sampler.get_description()


class GivenIds(IdGenerator):
    """The provider's ids, except that the next trace's id can be given."""

    def __init__(self, ids: IdGenerator) -> None:
        self._ids = ids
        self._given: int | None = None

    def give(self, trace_id: int) -> None:
        """Only for a process whose traces begin on one thread."""
        self._given = trace_id

    def generate_trace_id(self) -> int:
        given, self._given = self._given, None
        return self._ids.generate_trace_id() if given is None else given

    def generate_span_id(self) -> int:
        return self._ids.generate_span_id()

    def is_trace_id_random(self) -> bool:
        return self._ids.is_trace_id_random()


def _bound(sampler: Sampler) -> int | None:
    """A trace that begins here is sampled if its id's low 64 bits are less than this.

    Only for the SDK's own samplers. None for others: they have to be asked.
    """
    if type(sampler).should_sample is ParentBased.should_sample:
        sampler = sampler._root  # type: ignore[attr-defined] # it has no public name
    if type(sampler) is TraceIdRatioBased:
        return sampler.bound
    if sampler is ALWAYS_OFF:
        return 0
    return _LOW_BITS + 1 if sampler is ALWAYS_ON else None


def _attributes(args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The `attributes` argument of `should_sample`, which comes after name and kind."""
    return args[2] if len(args) > 2 else kwargs.get("attributes")

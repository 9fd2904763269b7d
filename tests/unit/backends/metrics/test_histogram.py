"""Our histogram gives the same as prometheus-client's."""

from __future__ import annotations

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay_backends.metrics.exposition import Renderer
from forebay_backends.metrics.histogram import Histogram
from forebay_backends.metrics.instruments import BY_NAME

RUN = BY_NAME["forebay_run_seconds"]
LAG = BY_NAME["forebay_event_loop_lag_seconds"]
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


def theirs(registry: prometheus_client.CollectorRegistry) -> prometheus_client.Histogram:
    return prometheus_client.Histogram(
        RUN.name, RUN.help, RUN.labels, registry=registry, buckets=RUN.buckets
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"), st.one_of(st.sampled_from(RUN.buckets), st.floats(0.0, 2000.0))
        )
    )
)
def test_it_has_the_same_samples(observed: list[tuple[str, float]]) -> None:
    registry = prometheus_client.CollectorRegistry()
    ours, other = Histogram(RUN), theirs(registry)
    for method, seconds in observed:
        ours.labels(method).observe(seconds)
        other.labels(method).observe(seconds)
    for accept in ("", OPEN_METRICS):
        assert Renderer().render(ours, accept) == Renderer().render(registry, accept)


def test_a_bucket_has_its_latest_exemplar() -> None:
    ours = Histogram(RUN)
    series = ours.labels("m")
    for number, seconds in enumerate((0.02, 0.03, 700.0)):
        series.observe(seconds, {"trace_id": str(number)})
    series.observe(0.02)
    found = {
        sample.labels["le"]: (sample.exemplar.labels["trace_id"], sample.exemplar.value)
        for (family,) in [ours.collect()]
        for sample in family.samples
        if sample.exemplar is not None
    }
    assert found == {"0.025": ("0", 0.02), "0.05": ("1", 0.03), "+Inf": ("2", 700.0)}
    text, _ = Renderer().render(ours, OPEN_METRICS)
    assert b'le="0.05",method="m"} 3.0 # {trace_id="1"} 0.03 ' in text


def test_one_without_labels_is_observed_itself() -> None:
    ours = Histogram(LAG)
    ours.observe(0.5)
    assert b"forebay_event_loop_lag_seconds_count 1.0" in Renderer().render(ours, "")[0]


def test_a_wrong_number_of_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="forebay_run_seconds has labels"):
        Histogram(RUN).labels("m", "x")

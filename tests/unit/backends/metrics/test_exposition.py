"""The text that Prometheus reads."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from forebay_backends.metrics.exposition import Renderer, content_type_of, merged
from forebay_backends.metrics.registry import FamiliesOf

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "text/plain;version=1.0.0;q=0.4,*/*;q=0.2"
)
"""What Prometheus 3 sends."""
PARSERS = {"": parse_text, OPEN_METRICS: parse_open_metrics, PROMETHEUS: parse_open_metrics}


def process(number: int, accept: str, exemplar: bool = False) -> bytes:
    """What a process answers: a counter, and a histogram of one value."""
    registry = CollectorRegistry()
    counter = Counter("calls", 'Calls\nof a "method"', ["method"], registry=registry)
    counter.labels('a"b\\c\nd').inc(number)
    seconds = Histogram("seconds", "How long", registry=registry, buckets=(1.0, 2.0))
    seconds.observe(1.5, {"trace_id": "abc"} if exemplar else None)
    Gauge("unused", "Has no sample", ["label"], registry=registry)
    text, content_type = Renderer({"process": str(number)}).render(registry, accept)
    assert content_type == content_type_of(accept)
    return text


@pytest.mark.parametrize("accept", PARSERS)
def test_the_metrics_of_several_processes_become_one_text(accept: str) -> None:
    text = merged([process(1, accept), process(2, accept)])
    families = {family.name: family for family in PARSERS[accept](text.decode())}
    assert sorted(families) == ["calls", "seconds"]
    assert [(s.labels, s.value) for s in families["calls"].samples] == [
        ({"method": 'a"b\\c\nd', "process": "1"}, 1.0),
        ({"method": 'a"b\\c\nd', "process": "2"}, 2.0),
    ]
    assert families["calls"].documentation == 'Calls\nof a "method"'
    assert families["calls"].type == "counter"
    buckets = [s for s in families["seconds"].samples if s.name == "seconds_bucket"]
    assert [(s.labels["process"], s.labels["le"], s.value) for s in buckets] == [
        (number, le, value)
        for number in ("1", "2")
        for le, value in (("1.0", 0.0), ("2.0", 1.0), ("+Inf", 1.0))
    ]


@pytest.mark.parametrize("accept", PARSERS)
def test_the_text_is_that_of_prometheus_client_without_creation_times(accept: str) -> None:
    registry = CollectorRegistry()
    seconds = Histogram("seconds", "How long", ["of"], registry=registry, buckets=(0.001, 2.0))
    for value in (0.0001, 1e9, float("inf")):
        seconds.labels("x").observe(value, {"trace_id": "abc"})
    Counter("calls", "Calls", registry=registry).inc(12345678)
    Gauge("bytes", "Held", registry=registry).set(-0.5)
    encode, _ = choose_encoder(accept)
    lines = encode(registry).splitlines(keepends=True)
    expected = b"".join(line for line in lines if b"_created" not in line)
    text, _ = Renderer().render(registry, accept)
    assert text == expected


def test_exemplars_are_kept() -> None:
    texts = [process(number, OPEN_METRICS, exemplar=True) for number in (1, 2)]
    samples = [s for f in parse_open_metrics(merged(texts).decode()) for s in f.samples]
    exemplars = [sample.exemplar for sample in samples if sample.exemplar]
    assert [exemplar.labels for exemplar in exemplars] == [{"trace_id": "abc"}] * 2


def test_a_text_of_no_process_is_valid() -> None:
    assert list(parse_text(merged([]).decode())) == []
    empty = merged([Renderer().render(CollectorRegistry(), OPEN_METRICS)[0]])
    assert list(parse_open_metrics(empty.decode())) == []


def test_figures_become_gauges_of_the_table() -> None:
    figures = [
        {"forebay_slots": {("add",): 2.0}, "forebay_held_bytes": {(): 7}},
        {"forebay_slots": {("mul",): 1.0}, "forebay_queue_expected_wait_seconds": {}},
    ]
    text, _ = Renderer().render(FamiliesOf(figures), "")
    samples = [s for family in parse_text(text.decode()) for s in family.samples]
    assert [(s.name, s.labels, s.value) for s in samples] == [
        ("forebay_slots", {"queue": "add"}, 2.0),
        ("forebay_slots", {"queue": "mul"}, 1.0),
        ("forebay_held_bytes", {}, 7.0),
    ]

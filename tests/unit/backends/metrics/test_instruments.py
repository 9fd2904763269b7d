"""The table of metrics."""

from __future__ import annotations

import re

from forebay_backends.metrics.instruments import INSTRUMENTS, Kind, Source
from forebay_backends.metrics.registry import Metrics

UNITS = ("_seconds", "_bytes")


def test_names_follow_prometheus_conventions() -> None:
    names = [one.name for one in INSTRUMENTS]
    assert len(set(names)) == len(names)
    for one in INSTRUMENTS:
        assert re.fullmatch(r"(forebay|rpc)_[a-z_]+[a-z]", one.name)
        assert one.name.endswith("_total") == (one.kind is Kind.COUNTER), one.name
        if one.unit in ("seconds", "bytes"):
            assert one.name.removesuffix("_total").endswith(f"_{one.unit}"), one.name
        assert bool(one.buckets) == (one.kind is Kind.HISTOGRAM), one.name


def test_no_label_has_the_name_of_an_id() -> None:
    labels = {label for one in INSTRUMENTS for label in one.labels}
    assert not {label for label in labels if "id" in label.split("_")}
    assert "process" not in labels, "the exposition adds it"


def test_every_counter_and_histogram_of_a_source_can_be_made_and_counts() -> None:
    for source in Source:
        metrics = Metrics({source})
        for one in INSTRUMENTS:
            if source not in one.sources or one.kind is Kind.GAUGE:
                continue
            values = ["x"] * len(one.labels)
            if one.kind is Kind.COUNTER:
                counter = metrics.counter(one.name)
                (counter.labels(*values) if values else counter).inc()
            else:
                histogram = metrics.histogram(one.name)
                (histogram.labels(*values) if values else histogram).observe(1.0)
        counted = {family.name for family in metrics.registry.collect() if family.samples}
        wanted = {
            one.name.removesuffix("_total")
            for one in INSTRUMENTS
            if source in one.sources and one.kind is not Kind.GAUGE
        }
        assert counted == wanted


def test_instruments_that_are_off_count_nothing() -> None:
    metrics = Metrics({Source.GATEWAY}, is_on=False)
    metrics.counter("forebay_calls_accepted_total").labels("m").inc()
    metrics.histogram("forebay_run_seconds").labels("m").observe(1.0)
    assert list(metrics.registry.collect()) == []

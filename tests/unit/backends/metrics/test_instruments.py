"""The table of metrics."""

from __future__ import annotations

import re

from forebay_backends.metrics.instruments import INSTRUMENTS, Kind, Source
from forebay_backends.metrics.registry import Metrics

NAMES = {
    "rpc_server_call_duration_seconds": ("rpc_method", "rpc_response_status_code"),
    "forebay_calls_accepted_total": ("method",),
    "forebay_calls_ended_total": ("method", "reason"),
    "forebay_queue_wait_seconds": ("method",),
    "forebay_run_seconds": ("method",),
    "forebay_first_item_seconds": ("method",),
    "forebay_items_total": ("method", "kind"),
    "forebay_item_bytes_total": ("method", "kind"),
    "forebay_calls": ("method", "state"),
    "forebay_queue_calls": ("queue",),
    "forebay_queue_oldest_wait_seconds": ("queue",),
    "forebay_queue_expected_wait_seconds": ("queue",),
    "forebay_slots": ("queue",),
    "forebay_batch_size": ("method",),
    "forebay_attempts_lost_total": ("queue",),
    "forebay_reruns_total": ("queue",),
    "forebay_messages_resent_total": ("queue",),
    "forebay_refused_total": ("method", "reason"),
    "forebay_ledger_seconds": ("operation",),
    "forebay_ledger_up": (),
    "forebay_broker_up": (),
    "forebay_held_bytes": (),
    "forebay_watches": (),
    "forebay_event_loop_lag_seconds": (),
    "forebay_auth_total": ("result",),
    "forebay_jwks_age_seconds": ("issuer",),
    "forebay_certificate_expiry_seconds": ("certificate",),
}
"""The names and labels that dashboards and rules of users rely on: a change of one breaks them."""


def test_names_and_labels_stay_as_they_are() -> None:
    labels = {one.name: one.labels for one in INSTRUMENTS}
    assert {name: labels.get(name) for name in NAMES} == NAMES


def test_buckets_of_durations_are_from_half_a_millisecond_to_ten_minutes() -> None:
    durations = [one for one in INSTRUMENTS if one.kind is Kind.HISTOGRAM and one.unit == "seconds"]
    assert len(durations) == 6
    for one in durations:
        assert (one.buckets[0], one.buckets[-1]) == (0.0005, 600.0), one.name
        assert list(one.buckets) == sorted(one.buckets)


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

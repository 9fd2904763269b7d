"""Reads the metrics of running processes."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families


def metric(address: str, name: str) -> list[float]:
    """The values of a metric, one for each process and label."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    samples = [sample for family in families for sample in family.samples]
    return [sample.value for sample in samples if sample.name == name]

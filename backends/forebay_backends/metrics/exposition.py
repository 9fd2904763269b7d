"""The text that Prometheus reads, of one process, and of several put together.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_FAMILY = re.compile(rb"^(?=# HELP )", re.MULTILINE)
_COMMENTS = re.compile(rb"(?:# (?:HELP|TYPE|UNIT) .*\n)+")
_EOF = b"# EOF\n"


class Labelled(Collector):
    """A registry whose samples all have further labels, and without creation times.

    The times would add a series to each counter; Prometheus finds resets by the values.
    """

    def __init__(self, registry: Collector, labels: Mapping[str, str]) -> None:
        self._registry = registry
        self._labels = dict(labels)

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            samples = [
                sample._replace(labels={**self._labels, **sample.labels})
                for sample in family.samples
                if not sample.name.endswith("_created")
            ]
            if samples:
                family.samples = samples
                yield family


def rendered(collector: Collector, accept: str) -> tuple[bytes, str]:
    """The text, and its content type, in the format that the client accepts."""
    encode, content_type = choose_encoder(accept)
    untyped: Any = encode
    text: bytes = untyped(collector)
    return text, content_type


def merged(texts: Iterable[bytes]) -> bytes:
    """One text of several in one format: Prometheus wants all samples of a metric together."""
    families: dict[bytes, list[bytes]] = {}
    is_open_metrics = False
    for text in texts:
        is_open_metrics = is_open_metrics or text.endswith(_EOF)
        for family in _FAMILY.split(text.removesuffix(_EOF)):
            comments = _COMMENTS.match(family)
            if comments is not None:
                families.setdefault(comments[0], []).append(family[comments.end() :])
    end = [_EOF] if is_open_metrics else []
    return b"".join(part for head, parts in families.items() for part in (head, *parts)) + b"".join(
        end
    )


def content_type_of(accept: str) -> str:
    """The content type of `rendered` for the same Accept header."""
    return choose_encoder(accept)[1]

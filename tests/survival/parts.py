"""The service's responses: each depends only on text, index and size. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from tests.survival.v1.survival_pb2 import Part


def part(text: str, index: int, size: int, run: str = "") -> Part:
    """A response; no two of different texts or indexes have the same filling."""
    filling = hashlib.shake_256(f"{text}/{index}".encode()).digest(size)
    return Part(text=text, index=index, filling=filling, run=run)


def gathered(texts: Iterable[str], size: int) -> Part:
    """The response to a stream of requests: it shows their order and their number."""
    digest, count = hashlib.sha256(), 0
    for text in texts:
        digest.update(f"{text}\n".encode())
        count += 1
    return part(digest.hexdigest(), count, size)

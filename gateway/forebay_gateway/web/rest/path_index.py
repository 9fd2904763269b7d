"""Finds the templates that match a path, the most specific one first. Pure.

`/v1/books/new` matches `/v1/books/new`, `/v1/books/{id}` and `/v1/{name=**}`, and is found by them
in this order: at the first segment that differs, a literal goes before `*`, and `*` before `**`.
A template with a verb goes before those without: `/v1/books/7:cancel` is the verb `cancel` on book
`7` if a template has that verb, and else a book named `7:cancel`.

The templates are a tree with a level for each segment. A search visits each node at most once, so
no path can make it slow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from forebay_gateway.web.rest.path_template import PathTemplate, Wildcard, decoded

MAX_SEGMENTS = 256

T = TypeVar("T")


@dataclass(slots=True)
class _Node(Generic[T]):
    literals: dict[str, _Node[T]] = field(default_factory=dict)
    one: _Node[T] | None = None
    at_end: dict[str, T] = field(default_factory=dict)
    """The templates that end here, by their verb."""
    with_rest: dict[str, T] = field(default_factory=dict)
    """The templates that end here with `**`, by their verb."""


class PathIndex(Generic[T]):
    """Values by the shape of their template."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()
        self._verbs: set[str] = set()

    def setdefault(self, template: PathTemplate, value: T) -> T:
        """The value of the template's shape; sets it if there is none."""
        self._verbs.add(template.verb)
        node = self._root
        for segment in template.segments:
            if segment is Wildcard.MANY:
                return node.with_rest.setdefault(template.verb, value)
            if segment is Wildcard.ONE:
                node.one = node.one or _Node()
                node = node.one
            else:
                node = node.literals.setdefault(str(segment), _Node())
        return node.at_end.setdefault(template.verb, value)

    def find(self, raw_path: str) -> Iterator[tuple[list[str], T]]:
        """The raw segments without the verb, and the value, of each template that matches.

        `raw_path` begins with `/` and is percent-encoded. Raises UndecodablePath.
        """
        segments = raw_path[1:].split("/", MAX_SEGMENTS)
        if not raw_path.startswith("/") or len(segments) > MAX_SEGMENTS:
            return
        head, colon, verb = segments[-1].rpartition(":")
        if colon and decoded(verb) in self._verbs - {""}:
            yield from self._matches([*segments[:-1], head], decoded(verb))
        yield from self._matches(segments, "")

    def _matches(self, raw: list[str], verb: str) -> Iterator[tuple[list[str], T]]:
        for value in _walk(self._root, [decoded(segment) for segment in raw], 0, verb):
            yield raw, value


def _walk(node: _Node[T], segments: Sequence[str], at: int, verb: str) -> Iterator[T]:
    if at == len(segments):
        if verb in node.at_end:
            yield node.at_end[verb]
    else:
        if segments[at] in node.literals:
            yield from _walk(node.literals[segments[at]], segments, at + 1, verb)
        if node.one is not None and segments[at]:
            yield from _walk(node.one, segments, at + 1, verb)
    if verb in node.with_rest:
        yield node.with_rest[verb]

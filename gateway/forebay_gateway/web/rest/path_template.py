"""Path templates of `google.api.http`, such as `/v1/{name=shelves/*}/books:list`. Pure.

The grammar is that of google/api/http.proto:

    Template = "/" Segments [ Verb ] ;
    Segments = Segment { "/" Segment } ;
    Segment  = "*" | "**" | LITERAL | Variable ;
    Variable = "{" FieldPath [ "=" Segments ] "}" ;
    FieldPath = IDENT { "." IDENT } ;
    Verb     = ":" LITERAL ;
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NoReturn
from urllib.parse import unquote

MAX_TEMPLATE_CHARS = 2048

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_LITERAL = re.compile(r"[^/{}*=?#\s\x00-\x1f\x7f]+")
_SLASH = re.compile("(%2[fF])")


class Wildcard(Enum):
    """A segment that matches any text."""

    ONE = "*"
    """Matches one segment, which must not be empty."""
    MANY = "**"
    """Matches the rest of the path, of zero or more segments."""


Segment = str | Wildcard
"""A string is a literal, percent-decoded."""


class TemplateError(ValueError):
    """The text is not a path template; the message has the reason, but not the template."""


class UndecodablePath(ValueError):
    """A part of a request's path is not UTF-8 after percent-decoding."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A request field, and the segments whose text it gets: those from `first` to `end`.

    `end` is None if the variable takes the rest of the path.
    """

    field_path: tuple[str, ...]
    first: int
    end: int | None

    @property
    def is_one_segment(self) -> bool:
        """Whether it takes one segment, in which `%2F` is decoded; in several it stays."""
        return self.end == self.first + 1


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A parsed template. `verb` is empty if there is none."""

    text: str
    segments: tuple[Segment, ...]
    variables: tuple[Variable, ...]
    verb: str

    @property
    def shape(self) -> tuple[tuple[Segment, ...], str]:
        """Two templates with equal shapes match the same paths."""
        return self.segments, self.verb

    def values(self, raw: Sequence[str]) -> dict[tuple[str, ...], str]:
        """The text of each variable, by its field path.

        `raw` are the segments of a path that matches, percent-encoded, without the verb. Raises
        UndecodablePath.
        """
        return {
            variable.field_path: _expanded(raw[variable.first : variable.end], variable)
            for variable in self.variables
        }


def parse_template(text: str) -> PathTemplate:
    """Parses a template; raises TemplateError."""
    if len(text) > MAX_TEMPLATE_CHARS:
        raise TemplateError(f"has over {MAX_TEMPLATE_CHARS} characters")
    return _Parser(text).template()


def decoded(raw: str) -> str:
    """The percent-decoded text; raises UndecodablePath."""
    try:
        return unquote(raw, errors="strict")
    except UnicodeDecodeError as error:
        raise UndecodablePath("the path is not UTF-8 after percent-decoding") from error


def _expanded(raw: Iterable[str], variable: Variable) -> str:
    if variable.is_one_segment:
        return "".join(map(decoded, raw))
    return "/".join(_decoded_but_slashes(segment) for segment in raw)


def _decoded_but_slashes(raw: str) -> str:
    """In a variable of several segments, `%2F` stays as it is (google/api/http.proto)."""
    parts = _SLASH.split(raw)
    return "".join(part if number % 2 else decoded(part) for number, part in enumerate(parts))


class _Parser:
    """Recursive descent, one method a rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._end = len(text)
        self._segments: list[Segment] = []
        self._variables: list[Variable] = []

    def template(self) -> PathTemplate:
        verb = self._verb()
        if not self._take("/"):
            raise TemplateError("must begin with /")
        self._segment_list(in_variable=False)
        if self._at != self._end:
            self._unexpected()
        if Wildcard.MANY in self._segments[:-1]:
            raise TemplateError("has ** before other segments; it must be the last one")
        paths = [variable.field_path for variable in self._variables]
        for path in paths:
            if paths.count(path) > 1:
                raise TemplateError(f"has the variable {'.'.join(path)} twice")
        return PathTemplate(self._text, tuple(self._segments), tuple(self._variables), verb)

    def _verb(self) -> str:
        """Takes the verb from the end; a `:` before the last segment is part of a literal."""
        colon = self._text.rfind(":")
        if colon <= max(self._text.rfind("/"), self._text.rfind("}")):
            return ""
        self._end = colon
        verb = self._text[colon + 1 :]
        if not _LITERAL.fullmatch(verb):
            raise TemplateError(f"has the verb {verb!r}, which is not a literal")
        return self._literal_of(verb)

    def _segment_list(self, *, in_variable: bool) -> None:
        self._segment(in_variable=in_variable)
        while self._take("/"):
            self._segment(in_variable=in_variable)

    def _segment(self, *, in_variable: bool) -> None:
        if self._take("**"):
            self._segments.append(Wildcard.MANY)
        elif self._take("*"):
            self._segments.append(Wildcard.ONE)
        elif self._take("{"):
            if in_variable:
                raise TemplateError("has a variable in a variable")
            self._variable()
        else:
            self._segments.append(self._literal_of(self._match(_LITERAL, "a segment")))

    def _variable(self) -> None:
        names = [self._match(_IDENTIFIER, "the name of a field")]
        while self._take("."):
            names.append(self._match(_IDENTIFIER, "the name of a field"))
        first = len(self._segments)
        if self._take("="):
            self._segment_list(in_variable=True)
        else:
            self._segments.append(Wildcard.ONE)
        if not self._take("}"):
            self._unexpected("}")
        takes_rest = self._segments[-1] is Wildcard.MANY
        end = None if takes_rest else len(self._segments)
        self._variables.append(Variable(tuple(names), first, end))

    def _take(self, token: str) -> bool:
        found = self._text.startswith(token, self._at, self._end)
        self._at += len(token) if found else 0
        return found

    def _match(self, pattern: re.Pattern[str], expected: str) -> str:
        found = pattern.match(self._text, self._at, self._end)
        if found is None:
            self._unexpected(expected)
        self._at = found.end()
        return found.group()

    def _literal_of(self, raw: str) -> str:
        try:
            return decoded(raw)
        except UndecodablePath:
            raise TemplateError(f"has {raw!r}, which is not UTF-8 when decoded") from None

    def _unexpected(self, expected: str = "/ or the end") -> NoReturn:
        found = repr(self._text[self._at]) if self._at < self._end else "the end"
        raise TemplateError(f"has {found} at character {self._at + 1}; expected {expected}")

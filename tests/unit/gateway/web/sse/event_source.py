"""Reads events as a browser does, by "Interpreting an event stream" of HTML's specification."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_LINE = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Event:
    """A dispatched event."""

    name: str
    data: str
    last_id: str


@dataclass
class EventSource:
    """The events that were dispatched, and what a reconnection would use."""

    events: list[Event] = field(default_factory=list)
    last_id: str = ""
    retry_ms: int | None = None
    _id: str = ""
    _name: str = ""
    _data: list[str] = field(default_factory=list)
    _rest: bytes = b""

    def feed(self, chunk: bytes) -> None:
        """Each chunk ends with a line."""
        *lines, rest = _LINE.split((self._rest + chunk).decode())
        self._rest = rest.encode()
        for line in lines:
            self._line(line)

    def _line(self, line: str) -> None:
        if not line:
            self._dispatch()
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case "id" if "\x00" not in value:
                self._id = value
            case "retry" if value.isdigit():
                self.retry_ms = int(value)

    def _dispatch(self) -> None:
        self.last_id = self._id
        data, name = self._data, self._name or "message"
        self._data, self._name = [], ""
        if data:
            self.events.append(Event(name, "\n".join(data), self.last_id))

"""Separates metadata from the response, for handlers of methods that return an operation.

Such a handler returns the operation's response, or is a generator that yields metadata, such as
progress, and then returns the response or yields it last.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from forebay.routes import Method
from forebay.routes.operations import OperationTypes


@dataclass(frozen=True)
class Metadata:
    """A message of the operation's metadata type; a response may have the same type."""

    message: Message

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        return self.message.SerializeToString()


class YieldedMessages:
    """Distinguishes the metadata that a handler yields from its response, which comes last.

    If both have the same type, every yielded message is metadata.
    """

    def __init__(self, method: Method, types: OperationTypes) -> None:
        self._method = method
        self._types = types
        self._response: Any = None

    def read(self, message: Any) -> Metadata | None:
        """Returns a yielded message as metadata; None if it is the response.

        Raises TypeError for messages of other types, and for any message after the response.
        """
        name = self._method.name
        if self._response is not None:
            raise TypeError(f"the handler of {name} yielded more after its response")
        if isinstance(message, self._types.metadata_class):
            return Metadata(message)
        if isinstance(message, self._types.response_class):
            self._response = message
            return None
        raise TypeError(
            f"the handler of {name} yielded {type(message).__name__}, neither "
            f"{self._types.metadata_class.DESCRIPTOR.full_name} nor "
            f"{self._types.response_class.DESCRIPTOR.full_name}"
        )

    def response(self, returned: Any = None) -> Any:
        """Returns the yielded or `returned` response; raises TypeError if there are both."""
        if self._response is not None and returned is not None:
            name = self._method.name
            raise TypeError(f"the handler of {name} yielded its response and returned another")
        return returned if self._response is None else self._response


def metadata_of(
    method: Method, types: OperationTypes, result: Any
) -> Generator[Metadata, None, Any]:
    """Yields the metadata that a handler yields, and returns its response.

    `result` is what the handler returned: an iterator, or the response. Raises the errors of
    `YieldedMessages`.
    """
    if not isinstance(result, Iterator):
        return result
    yielded = YieldedMessages(method, types)
    try:
        while True:
            try:
                message = next(result)
            except StopIteration as end:
                return yielded.response(end.value)
            metadata = yielded.read(message)
            if metadata is not None:
                yield metadata
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()

"""What the handler of a method that returns an operation yields before its response.

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

    def SerializeToString(self) -> bytes:  # noqa: N802 - as a message has it
        """The message's bytes."""
        return self.message.SerializeToString()


def metadata_of(
    method: Method, types: OperationTypes, result: Any
) -> Generator[Metadata, None, Any]:
    """Yields the metadata that a handler yields, and returns its response.

    `result` is what the handler returned: an iterator, or the response. If response and metadata
    have the same type, all that is yielded is metadata. Raises TypeError for other messages, for a
    response before the end, and for two responses.
    """
    if not isinstance(result, Iterator):
        return result
    response: Any = None
    try:
        while True:
            try:
                message = next(result)
            except StopIteration as end:
                returned = end.value
                break
            if response is not None:
                raise TypeError(f"the handler of {method.name} yielded more after its response")
            if isinstance(message, types.metadata_class):
                yield Metadata(message)
            elif isinstance(message, types.response_class):
                response = message
            else:
                raise TypeError(
                    f"the handler of {method.name} yielded {type(message).__name__}, neither "
                    f"{types.metadata_class.DESCRIPTOR.full_name} nor "
                    f"{types.response_class.DESCRIPTOR.full_name}"
                )
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    if response is not None and returned is not None:
        raise TypeError(f"the handler of {method.name} yielded its response and returned another")
    return returned if response is None else response

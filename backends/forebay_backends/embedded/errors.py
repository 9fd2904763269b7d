"""The error of an embedded server that can't be started."""

from __future__ import annotations


class EmbeddedServerError(RuntimeError):
    """The embedded server could not be started; the message says why and what to do."""

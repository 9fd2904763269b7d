"""Logging an outage once instead of at every failed try."""

from __future__ import annotations

import logging


def in_words(error: BaseException) -> str:
    """The error's class and text: redis-py's `repr` lacks the text, and others' may be empty."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")


class OutageLog:
    """Logs the first of consecutive failures as a warning, and the success that ends them.

    For example, with "the broker does not answer" and "the broker answers again".
    """

    def __init__(self, log: logging.Logger, begins: str, ends: str) -> None:
        self._log = log
        self._begins = begins
        self._ends = ends
        self._is_out = False

    def failed(self, error: Exception) -> None:
        if not self._is_out:
            self._log.warning("%s: %s", self._begins, in_words(error.__cause__ or error))
        self._is_out = True

    def succeeded(self) -> None:
        if self._is_out:
            self._log.info("%s", self._ends)
        self._is_out = False

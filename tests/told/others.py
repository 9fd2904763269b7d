"""An application that knows nothing of Forebay, and has the task that is told of ends."""

from __future__ import annotations

from celery import Celery

app = Celery("others")


def ended(ending: dict[str, object]) -> None:
    """Looks at the end."""


app.task(ended, name="told.ended")  # type: ignore[call-overload]

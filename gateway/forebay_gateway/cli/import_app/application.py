"""Loads a Celery application as its workers do, and lists its tasks."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from celery import Celery
from celery.app.utils import find_app
from celery.backends.base import DisabledBackend

from forebay_gateway.cli.import_app.signatures import Task, read_task

CELERYS_OWN = "celery."
_EXPECTED = "expected MODULE or MODULE:ATTRIBUTE, as for `celery -A`"


class ApplicationError(Exception):
    """The application can't be loaded; the message says why, and what to do."""


def load_application(path: str) -> Any:
    """The application, after importing all the task modules that its workers import.

    Raises ApplicationError for any exception of the application's modules.
    """
    try:
        app = find_app(path)
        if isinstance(app, Celery):
            app.loader.import_default_modules()
            app.finalize(auto=True)
    except (Exception, SystemExit) as error:
        problem = _not_found(path, error) or f"{path} can't be loaded: {_cause(error)}"
        raise ApplicationError(problem) from error
    if not isinstance(app, Celery):
        raise ApplicationError(
            f"{path} is of the type {type(app).__name__}, no Celery application; {_EXPECTED}"
        )
    return app


def _not_found(path: str, error: BaseException) -> str | None:
    """The problem if Celery has found no application there; None for any other error."""
    if isinstance(error, AttributeError) and _is_finders(error):
        return f"{path}: {error}; {_EXPECTED}"
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    if name is None or not (path == name or path.startswith((f"{name}.", f"{name}:"))):
        return None
    if ":" in name:  # without such an attribute, Celery imports all of `module:attribute`
        module, _, attribute = name.partition(":")
        return f"{path}: module {module!r} has no attribute {attribute!r}; {_EXPECTED}"
    return f"{path}: there is no module {name!r} here; {_EXPECTED}, from its workers' folder"


def read_tasks(app: Any) -> list[Task]:
    """The application's own tasks, without those of Celery; raises ApplicationError."""
    try:
        return list(_tasks(app))
    except Exception as error:
        raise ApplicationError(f"its tasks can't be read: {_cause(error)}") from error


def configuration_problems(app: Any) -> Iterator[str]:
    """The settings with which calls through a gateway fail, each with its fix."""
    accepted = {str(one) for one in app.conf.accept_content or ()}
    if not accepted & {"json", "application/json"}:
        yield "its workers refuse JSON, which gateways send: add json to `accept_content`"
    if app.conf.result_serializer != "json":
        yield (
            f"its results are {app.conf.result_serializer}, which gateways don't read: set "
            "`result_serializer` to json"
        )
    try:
        has_backend = not isinstance(app.backend, DisabledBackend)
    except Exception as error:  # for example, its library is missing
        yield f"its result backend can't be used: {_cause(error)}"
    else:
        if not has_backend:
            yield "it has no result backend, so results never arrive: set `result_backend`"


def _tasks(app: Any) -> Iterator[Task]:
    for name, task in sorted(app.tasks.items()):
        if not name.startswith(CELERYS_OWN):
            doc = vars(type(task)).get("__doc__") or task.run.__doc__
            queue = _queue(app, task)
            read = read_task(name, queue or app.conf.task_default_queue, task.run, doc)
            yield replace(read, queue_is_known=queue is not None)


def _queue(app: Any, task: Any) -> str | None:
    """The queue to which `task.delay()` sends the task; None if only a call would tell."""
    options = {key: getattr(task, key, None) for key in ("queue", "exchange", "routing_key")}
    options = {key: value for key, value in options.items() if value is not None}
    by_exchange = "exchange" in options and "queue" not in options
    try:
        route = app.amqp.router.route(dict(options), task.name, (), {}, task_type=task)
    except Exception:  # a router is the application's code, and may need the call's arguments
        return None
    queue = None if by_exchange else route.get("queue")
    if queue is not None:
        return str(getattr(queue, "name", queue))
    exchange, key = route.get("exchange"), route.get("routing_key")
    bound = (
        queue.name
        for queue in app.amqp.queues.values()
        if queue.exchange.name == getattr(exchange, "name", exchange) and queue.routing_key == key
    )
    return next(bound, None)


def _is_finders(error: AttributeError) -> bool:
    """Whether Celery's lookup raised the error, not a module of the application."""
    frames = traceback.extract_tb(error.__traceback__)
    return frames[-1].filename.endswith(("celery/app/utils.py", "kombu/utils/imports.py"))


def _cause(error: BaseException) -> str:
    """The error, and the innermost line of code outside Celery, kombu and importlib."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
        and "/celery/" not in frame.filename
        and "/kombu/" not in frame.filename
        and "/importlib/" not in frame.filename
        and frame.filename != __file__
    ]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"

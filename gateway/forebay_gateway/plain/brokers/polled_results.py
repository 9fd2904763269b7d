"""Reads results from any Celery result backend: a database, files, memcached, MongoDB and so on.

Such a backend does not announce results, so the gateway polls the states of the tasks in flight,
at the times of a `PollSchedule`. Celery's backends block, so they run in a few threads. Each thread
has its own backend, since Celery's `app.backend` is thread-local.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

from celery import Celery, states
from celery.backends.base import DisabledBackend
from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.utils.json import dumps

from forebay.errors import BackendUnavailable
from forebay_backends.aio.outage_log import OutageLog
from forebay_backends.broker.task_messages import JSON
from forebay_backends.settings import CeleryApplication, SettingsError
from forebay_backends.urls import redacted
from forebay_gateway.plain.brokers.poll_schedule import (
    FIRST_INTERVAL_S,
    MAX_INTERVAL_S,
    PollSchedule,
)

_THREADS = 4
_READ_TIMEOUT_S = 5.0
_NO_TASK = "forebay-ping"
_NOT_JSON = "application/octet-stream"

_log = logging.getLogger(__name__)


class PolledResults:
    """The results of the tasks that `pending` lists; see `PlainResults`.

    Raises SettingsError as `results_app` does.
    """

    def __init__(
        self,
        application: CeleryApplication,
        on_meta: Callable[[str, bytes, str], None],
        pending: Callable[[], Sequence[str]],
    ) -> None:
        self._called = application.called("result backend")
        self._app = results_app(application)
        self._on_meta = on_meta
        self._pending = pending
        self._schedule = PollSchedule()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="forebay-results")
        reading = f"reading the {self._called}"
        self._outage = OutageLog(_log, f"{reading} is interrupted", f"{reading} resumes")
        self.is_listening = False

    async def listen(self) -> None:
        """Reads the states of the tasks in flight until cancelled."""
        while True:
            await self._poll(self._schedule.due(self._pending(), time.monotonic()))
            self.is_listening = True
            await asyncio.sleep(FIRST_INTERVAL_S)

    async def read(self, task_ids: Sequence[str]) -> None:
        """Does nothing: `listen` reads all tasks in flight."""

    async def ping(self) -> None:
        """Returns when the backend has answered; raises BackendUnavailable."""
        await self._run(_NO_TASK)

    async def close(self) -> None:
        """Cancels the queued reads, and does not wait for those that are running."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _poll(self, task_ids: Iterable[str]) -> None:
        try:
            await asyncio.gather(*(self._read(task_id) for task_id in task_ids))
        except BackendUnavailable as unavailable:
            self._outage.failed(unavailable)
            await asyncio.sleep(MAX_INTERVAL_S)
        else:
            self._outage.succeeded()

    async def _read(self, task_id: str) -> None:
        body, content_type = await self._run(task_id)
        is_readable = content_type == JSON
        if not self._schedule.is_news(task_id, body, is_readable, time.monotonic()):
            return
        try:
            self._on_meta(task_id, body, content_type)
        except Exception:  # one bad result must not keep the others from being read
            _log.exception("the result of task %s can't be handled", task_id)

    async def _run(self, task_id: str) -> tuple[bytes, str]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_READ_TIMEOUT_S):
                return await loop.run_in_executor(self._threads, _read_meta, self._app, task_id)
        except Exception as error:  # each backend has exceptions of its own
            raise BackendUnavailable(f"the {self._called} does not answer") from error


def results_app(application: CeleryApplication) -> Celery:
    """Celery's client of the result backend; it does not connect yet.

    Raises SettingsError if Celery has no such backend, or the gateway lacks its library.
    """
    url, setting = application.result_url, application.setting("result_url")
    app = Celery("forebay-results", set_as_current=False, fixups=[])
    app.conf.update(
        result_backend=url,
        result_serializer="json",
        result_accept_content=["json"],
        database_create_tables_at_setup=False,  # the tables are the application's
    )
    try:
        _set_up_django()
        backend = app.backend
    except Exception as error:  # whatever a library raises that is missing or misconfigured
        raise SettingsError(
            f"{setting}: {redacted(url)!r} can't be used: {redacted(str(error))}; expected "
            "the application's result_backend, and its library in the gateway's environment"
        ) from error
    if isinstance(backend, DisabledBackend):
        raise SettingsError(
            f"{setting}: {redacted(url)!r} stores no results; set the application's result_backend"
        )
    return app


def _set_up_django() -> None:
    """Loads the Django project of the environment: `django-db` keeps results in its models."""
    if "DJANGO_SETTINGS_MODULE" in os.environ:
        import_module("django").setup()


def _read_meta(app: Celery, task_id: str) -> tuple[bytes, str]:
    """The task's meta and its content type; an empty body if the backend has none."""
    backend: Any = app.backend
    # Otherwise Celery would look up an exception's class in this process and instantiate it.
    backend.meta_from_decoded = _as_it_is
    # Otherwise Celery would unpickle results that its old versions stored in databases.
    if hasattr(backend, "_decode_stored_result"):
        backend._decode_stored_result = backend.decode
    try:
        meta = backend.get_task_meta(task_id, cache=False)
        return (b"", JSON) if meta.get("status") == states.PENDING else (dumps(meta).encode(), JSON)
    except (ContentDisallowed, DecodeError, TypeError, ValueError):
        return b"unreadable", _NOT_JSON


def _as_it_is(meta: Any) -> Any:
    return meta

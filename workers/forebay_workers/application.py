"""Makes a Celery application out of services and their handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import grpc
from celery import Celery, Task
from google.protobuf.descriptor import ServiceDescriptor

from forebay.routes import NO_ROUTES, Method, RouteFile, read_methods, read_route_file
from forebay.routes.methods import is_routed
from forebay_backends.settings import Settings, SettingsError
from forebay_backends.urls import celery_settings
from forebay_workers.coroutines.handlers import coroutine_handler
from forebay_workers.execution.runs import CoroutineRun, HandlerRun
from forebay_workers.handler.interceptors import intercepted, refuse_other_interceptors
from forebay_workers.runtime import process, signals
from forebay_workers.servicers import services_of

Handler = Callable[..., Any]
Interceptor = grpc.ServerInterceptor | grpc.aio.ServerInterceptor
Handlers = Mapping[str, Handler] | object
"""Handlers by method name, or a servicer: an object with a method for each RPC."""


class Application(Celery):
    """A Celery application whose tasks are the handlers of services."""

    amqp_cls = "forebay_workers.celery_hooks.redis_transport:AMQP"

    def __init__(
        self,
        name: str,
        interceptors: Sequence[Interceptor] = (),
        routes: str | Path | None = None,
    ) -> None:
        super().__init__(name)
        self._route_path = routes
        self.add_defaults(_celery_defaults)
        signals.follow(self)
        refuse_other_interceptors(interceptors)
        self._interceptors = tuple(interceptors)
        self._served: dict[ServiceDescriptor, Handlers] = {}

    def register(
        self,
        servicer: object,
        *services: ServiceDescriptor,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        """Registers a servicer: an object with a method for each RPC, as grpc.server takes it.

        Without `services`, they are those whose generated `…Servicer` classes it extends.
        Methods with a `plain` route need no handler: other applications have their tasks.
        `interceptors` run around its handlers, inside the application's own.
        Raises RouteError for invalid routes; LookupError if there is no service, or none of
        its methods has a route for a handler, or such a method is missing; and TypeError for
        objects that are not interceptors, or not of the kind that a method needs.
        """
        for service in services or services_of(servicer):
            methods = read_methods([service], self._routes([service]))
            if not methods:
                raise LookupError(
                    f"no method of {service.full_name} has a route, by option or in a routes file"
                )
            if all(method.is_plain for method in methods):
                raise LookupError(
                    f"all routes of {service.full_name} name plain tasks, which have no handlers "
                    "here: the application that has the tasks runs them"
                )
            self.serve({service: servicer}, interceptors)

    def serve(
        self,
        services: Mapping[ServiceDescriptor, Handlers],
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        """Adds a task for each method with a handler's route; raises as `application` does."""
        refuse_other_interceptors(interceptors)
        served = {**self._served, **services}
        added = {service.full_name for service in services}
        methods = [
            method
            for method in read_methods(served, self._routes(served))
            if method.service in added and not method.is_plain
        ]
        by_name = {service.full_name: handlers for service, handlers in services.items()}
        handlers = [_handler(method, by_name[method.service]) for method in methods]
        around = (*self._interceptors, *interceptors)
        runs = [
            _run_of(method, handler, around)
            for method, handler in zip(methods, handlers, strict=True)
        ]
        self._served = served
        for method, run in zip(methods, runs, strict=True):
            _register(self, method, run)

    def _routes(self, services: Iterable[ServiceDescriptor]) -> RouteFile:
        """The file with routes: the one given or, if a method has no option, the settings'."""
        if self._route_path is None and all(
            is_routed(method) for service in services for method in service.methods
        ):
            return NO_ROUTES
        return self._route_file

    @cached_property
    def _route_file(self) -> RouteFile:
        return read_route_file(self._route_path or process.settings().routes)


def application(
    name: str,
    services: Mapping[ServiceDescriptor, Handlers] | None = None,
    *,
    interceptors: Sequence[Interceptor] = (),
    routes: str | Path | None = None,
) -> Application:
    """Returns an application with a task for each method with a route; more can be added.

    `interceptors` run in the worker around all its handlers, as in `grpc.server`; the first is
    the outermost. Those of `grpc.aio` run on the event loop. Methods with a `plain` route are left
    out: other applications have their tasks. `routes` is a file with routes for methods that have
    no option (docs/routes.md); unset: the setting of that name. Forebay's settings are read when
    the worker starts; here only for `routes`, if it is needed. Raises RouteError for invalid
    routes, LookupError if a method with a route has no handler, TypeError for objects that are no
    interceptors, or not of the kind that a method needs, and SettingsError.
    """
    app = Application(name, interceptors, routes)
    app.serve(services or {})
    return app


def _celery_defaults() -> dict[str, Any]:
    try:
        settings = process.settings()
        backends = settings.backends()
    except SettingsError as error:
        if click.get_current_context(silent=True) is not None:  # in Celery's command
            raise click.ClickException(str(error)) from None
        raise
    return {
        **celery_settings(backends),
        "broker_connection_max_retries": None,  # an outage may be long
        "worker_prefetch_multiplier": 1,
        # On Redis, messages that a lost worker had prefetched would not be redelivered.
        "worker_disable_prefetch": backends.broker_is_redis,
        # After a reconnection Celery would restore the prefetch count step by step, from the pool's
        # threads: two threads then read one AMQP connection, and the worker hangs.
        "worker_enable_prefetch_count_reduction": False,
        "worker_hijack_root_logger": True,
        **(_signed(settings) if settings.signing_keys else {}),
    }


def _signed(settings: Settings) -> dict[str, Any]:
    return {
        "worker_consumer": "forebay_workers.runtime.signed_consumer:SignedConsumer",
        "worker_enable_remote_control": settings.remote_control,
    }


def _handler(method: Method, handlers: Handlers) -> Handler:
    name = method.name.rpartition(".")[2]
    found = handlers.get(name) if isinstance(handlers, Mapping) else getattr(handlers, name, None)
    if found is None:
        raise LookupError(f"{method.name} has a route, but no handler is given for it")
    return found


def _run_of(
    method: Method, handler: Handler, interceptors: Sequence[Interceptor]
) -> HandlerRun | CoroutineRun:
    coroutine = coroutine_handler(method, handler, interceptors)
    if coroutine is not None:
        return CoroutineRun(coroutine)
    around: Any = interceptors  # none of grpc.aio, as `coroutine_handler` says
    return HandlerRun(method, intercepted(method, handler, around))


def _register(app: Celery, method: Method, run: HandlerRun | CoroutineRun) -> None:
    def task(self: Task[Any, Any], **content: Any) -> None:
        """Runs durable calls by their keys, or a batch of ephemeral calls."""
        runtime = process.runtime()
        try:
            run.run(runtime, content, str(self.request.id))
        finally:
            runtime.report()

    declare: Any = app.task  # celery-types declares it as a decorator only
    declare(
        task,
        name=method.route.task,
        bind=True,
        shared=False,  # other applications don't get the task
        serves=(method.name, method.fingerprint),
        coroutine=run if isinstance(run, CoroutineRun) else None,  # asyncio_pool.py
        ignore_result=True,
        Strategy="forebay_workers.runtime.strategy:strategy",
        Request="forebay_workers.celery_hooks.request:CallRequest",
    )

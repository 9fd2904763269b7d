"""Finding the services of a servicer: by the base classes that gRPC's generator made for it."""

from __future__ import annotations

import inspect
from importlib import import_module

from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor

_MODULE, _CLASS = "_pb2_grpc", "Servicer"


def services_of(servicer: object) -> tuple[ServiceDescriptor, ...]:
    """The services whose generated classes the servicer's class extends.

    `GreeterServicer` of the module `helloworld_pb2_grpc` is the service Greeter of
    `helloworld_pb2`. Raises LookupError where there is none.
    """
    found = [_service_of(base) for base in type(servicer).__mro__]
    services = tuple(service for service in found if service is not None)
    if not services:
        what = f"the class {servicer.__name__}" if isinstance(servicer, type) else repr(servicer)
        raise LookupError(
            f"{what} is no object of a class that extends a generated …Servicer; give one, or "
            "the service's descriptor beside it"
        )
    return services


def refuse_coroutines(servicer: object, service: ServiceDescriptor) -> None:
    """Raises TypeError where a method is for asyncio: handlers run in threads or processes."""
    for name in service.methods_by_name:
        method = getattr(servicer, name, None)
        if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
            raise TypeError(f"{service.full_name}.{name} is a coroutine; handlers are not")


def _service_of(base: type) -> ServiceDescriptor | None:
    module, name = base.__module__, base.__name__
    if not (module.endswith(_MODULE) and name.endswith(_CLASS)):
        return None
    messages = import_module(module.removesuffix("_grpc"))
    file: FileDescriptor = messages.DESCRIPTOR
    return file.services_by_name.get(name.removesuffix(_CLASS))

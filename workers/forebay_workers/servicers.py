"""Finds the services of a servicer, by the generated base classes that it extends."""

from __future__ import annotations

from importlib import import_module

from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor

_MODULE, _CLASS = "_pb2_grpc", "Servicer"


def services_of(servicer: object) -> tuple[ServiceDescriptor, ...]:
    """Returns the services whose generated classes the servicer's class extends.

    `GreeterServicer` of the module `helloworld_pb2_grpc` is for the service Greeter of
    `helloworld_pb2`. Raises LookupError if there is none.
    """
    found = [_service_of(base) for base in type(servicer).__mro__]
    services = tuple(service for service in found if service is not None)
    if not services:
        what = f"the class {servicer.__name__}" if isinstance(servicer, type) else repr(servicer)
        raise LookupError(
            f"{what} is not an object of a class that extends a generated …Servicer; pass such an "
            "object, or the service's descriptor as second argument"
        )
    return services


def _service_of(base: type) -> ServiceDescriptor | None:
    module, name = base.__module__, base.__name__
    if not (module.endswith(_MODULE) and name.endswith(_CLASS)):
        return None
    messages = import_module(module.removesuffix("_grpc"))
    file: FileDescriptor = messages.DESCRIPTOR
    return file.services_by_name.get(name.removesuffix(_CLASS))

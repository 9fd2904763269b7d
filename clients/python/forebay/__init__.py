"""Forebay: typed, streaming access to Celery workers over gRPC.

This package is the client:

- `connect` and `forebay.aio.connect` for ComputeService as functions,
- `channel` and `forebay.aio.channel` for the generated stub of any service,
- `forebay.compute.v1` for the generated code, the errors, and `Deadline`.

Calls over both are retried and resumed after failures.

Each name is imported when it is first used, so that the command line starts without gRPC.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forebay import errors
    from forebay.channels import channel
    from forebay.client import Client, connect
    from forebay.deadline import Deadline
    from forebay.errors import *  # noqa: F403

    __all__ = ["Client", "Deadline", "channel", "connect"]
    __all__ += errors.__all__
else:
    _MODULES = {
        "Client": "forebay.client",
        "Deadline": "forebay.deadline",
        "channel": "forebay.channels",
        "connect": "forebay.client",
    }

    def __getattr__(name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        errors = import_module("forebay.errors")
        if name == "__all__":
            return [*_MODULES, *errors.__all__]
        if name not in _MODULES and name not in errors.__all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_MODULES[name]) if name in _MODULES else errors, name)
        globals()[name] = value  # the next use finds it without this function
        return value

    def __dir__() -> list[str]:
        return sorted([*globals(), *__getattr__("__all__")])

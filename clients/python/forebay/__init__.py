"""Forebay: typed, streaming access to Celery workers over gRPC.

This package is the client:

- `connect` and `forebay.aio.connect` for ComputeService as functions,
- `channel` and `forebay.aio.channel` for the generated stub of any service,
- `forebay.compute.v1` for ComputeService's generated code,
- the errors and `Deadline`.

Calls over clients and channels are retried and resumed after failures.

Each name is imported when it is first used, so that the command line starts without gRPC.

Its folders, which gateways and workers use too:

- `cli/`: the command `forebay`, and its subcommands that call a gateway.
- `resume/`: channels whose calls are retried on other gateways, and resumed.
- `credentials/`: the tokens of calls, and where they may be sent.
- `routes/`: reads routes from descriptors, and reports what is wrong with them.
- `compute/`: ComputeService: its stub, the checks of its requests, its matrices as arrays.
- `errors/`: the errors that a call can end with, and their form on the wire.
- `v1/`: code generated from `protos/forebay/v1/`.

Its modules:

- `client.py`, `aio.py`: ComputeService as functions, for threads and for asyncio.
- `channels.py`, `service_config.py`: channels to gateways; gRPC's own retries.
- `metadata.py`, `deadline.py`, `rpc_errors.py`: the metadata keys of a call, its deadline, and
  gRPC's exceptions as errors of this package.
- `checks.py`: finds the check of a method's requests.
- `defaults.py`, `durations.py`, `loopback.py`, `secret_texts.py`: settings and their values:
  defaults, durations such as 90d, addresses of this host, secrets in the wrong place.
- `extras.py`: the extras that Forebay is installed with.
- `jitter.py`: random numbers for pauses and retry delays.
- `timers.py`: a function that is called if a block takes too long.
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

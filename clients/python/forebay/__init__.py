"""Forebay: typed, streaming access to Celery workers over gRPC.

This package is the client:

- `connect` and `forebay.aio.connect` for ComputeService as functions,
- `channel` and `forebay.aio.channel` for the generated stub of any service,
- `forebay.compute.v1` for the generated code, the errors, and `Deadline`.

Calls over both are retried and resumed after failures.
"""

from forebay import errors
from forebay.channels import channel
from forebay.client import Client, connect
from forebay.deadline import Deadline
from forebay.errors import *  # noqa: F403

__all__ = ["Client", "Deadline", "channel", "connect"]
__all__ += errors.__all__

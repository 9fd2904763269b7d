"""What each method requires of its caller: nothing, an identity, or a permission. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from forebay.routes import Method
from forebay_gateway.identity.permissions import CANCEL, DELETE, QUEUES, READ
from forebay_gateway.identity.principal import Principal


@dataclass(frozen=True, slots=True)
class Requirement:
    """`permission` is empty where any identity will do; `is_open` where none is needed."""

    permission: str = ""
    is_open: bool = False


MAX_VIEWS = 32
"""How many lists of methods are kept, for callers who may call different ones."""

MayCall = Callable[[Principal, str], bool]
"""Whether the principal may call the method of a path."""


def everything(principal: Principal, path: str) -> bool:
    """The `MayCall` of a gateway without authentication: every caller may call every method."""
    return True


OPEN = Requirement(is_open=True)
ANY_IDENTITY = Requirement()

_CALLS, _OPERATIONS = "/forebay.v1.CallService", "/google.longrunning.Operations"
_HEALTH, _SCALER = "/grpc.health.v1.Health", "/externalscaler.ExternalScaler"

_OWN = {
    f"{_HEALTH}/Check": OPEN,  # load balancers and kubelets have no token
    f"{_HEALTH}/Watch": ANY_IDENTITY,
    f"{_HEALTH}/List": ANY_IDENTITY,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": ANY_IDENTITY,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": ANY_IDENTITY,
    f"{_OPERATIONS}/GetOperation": Requirement(READ),
    f"{_OPERATIONS}/ListOperations": Requirement(READ),
    f"{_OPERATIONS}/WaitOperation": Requirement(READ),
    f"{_OPERATIONS}/CancelOperation": Requirement(CANCEL),
    f"{_OPERATIONS}/DeleteOperation": Requirement(DELETE),
    f"{_CALLS}/WhoAmI": ANY_IDENTITY,
    "/openapi.json": ANY_IDENTITY,  # with what the caller may call
    f"{_CALLS}/ReadItems": Requirement(READ),
    f"{_CALLS}/ListMethods": Requirement(QUEUES),
    f"{_CALLS}/ListQueues": Requirement(QUEUES),
    f"{_CALLS}/ListWorkers": Requirement(QUEUES),
    f"{_CALLS}/ReadActivity": Requirement(QUEUES),
    f"{_CALLS}/ListProblems": Requirement(QUEUES),
    f"{_CALLS}/ListErrors": Requirement(READ),
    f"{_CALLS}/DescribeMethod": ANY_IDENTITY,  # it checks itself whether the caller may call it
    f"{_CALLS}/ReadProfile": Requirement(QUEUES),
}
_FOR_OPERATORS = {
    # The operators' port shows the same figures as /metrics, without a token.
    f"{_SCALER}/{name}": OPEN
    for name in ("IsActive", "StreamIsActive", "GetMetricSpec", "GetMetrics")
}


def permission_of(method: Method) -> str:
    """The permission that callers of a routed method need."""
    return method.route.requires or method.name


class Requirements:
    """The requirements of all paths that a gateway serves."""

    def __init__(self, methods: Iterable[Method], *, for_operators: bool = False) -> None:
        self._by_path = {
            **_OWN,
            **(_FOR_OPERATORS if for_operators else {}),
            **{method.path: Requirement(permission_of(method)) for method in methods},
        }

    def of(self, path: str) -> Requirement:
        """The requirement of a path; the empty path stands for all methods that are not served."""
        if not path:
            return ANY_IDENTITY
        # A method that is missing in the table needs a permission of its own: it is closed, not
        # open.
        return self._by_path.get(path) or Requirement(path.strip("/").replace("/", "."))

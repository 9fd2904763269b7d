"""Routes say which methods a gateway serves, and with which tasks, queues and limits.

`read_methods` turns descriptors into `Method`s and reports all problems at once, in one
`RouteError`. `forebay.routes.sources` finds the descriptors.
"""

from forebay.routes.file import NO_ROUTES, RouteFile, read_route_file
from forebay.routes.methods import (
    Method,
    all_methods,
    has_service,
    method_of,
    read_methods,
    services_of,
)
from forebay.routes.problems import RouteError
from forebay.routes.route import HIGHEST_PRIORITY, Limits, OnEnd, Route

__all__ = [
    "HIGHEST_PRIORITY",
    "NO_ROUTES",
    "Limits",
    "Method",
    "OnEnd",
    "Route",
    "RouteError",
    "RouteFile",
    "all_methods",
    "has_service",
    "method_of",
    "read_methods",
    "read_route_file",
    "services_of",
]

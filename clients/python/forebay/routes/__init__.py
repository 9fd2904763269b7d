"""Which methods of which services a gateway serves, and how.

`read_methods` turns descriptors into `Method`s and reports all problems at once, in one
`RouteError`. `forebay.routes.sources` finds the descriptors.
"""

from forebay.routes.methods import (
    Method,
    RouteError,
    has_service,
    method_of,
    read_methods,
    services_of,
)
from forebay.routes.route import HIGHEST_PRIORITY, Limits, Route

__all__ = [
    "HIGHEST_PRIORITY",
    "Limits",
    "Method",
    "Route",
    "RouteError",
    "has_service",
    "method_of",
    "read_methods",
    "services_of",
]

"""Public: a gateway inside of another ASGI application, such as Starlette's or FastAPI's.

The gateway serves what it would on `web_listen`, with the same checks of `Host` and origin, guard
and limits; docs/web.md has an example. It does not listen for gRPC. Every caller of the other
application can call the gateway, so without `[auth]` the services that show or end calls of others
are closed. The other application's server limits the size of heads and the time of slow callers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from forebay.routes import Method
from forebay_backends.settings import Settings
from forebay_gateway.server.gateway import mounted_gateway
from forebay_gateway.web.exchange import App


@asynccontextmanager
async def gateway_application(
    settings: Settings, methods: Sequence[Method] = ()
) -> AsyncIterator[App]:
    """The ASGI application of a gateway, which runs until the block is left and then drains.

    Without `methods`, it serves those of the settings' services. Raises SettingsError, RouteError
    or GatewayError if the gateway can't start.
    """
    async with mounted_gateway(settings, methods) as app:
        yield app

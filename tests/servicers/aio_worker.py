"""`celery -A tests.servicers.aio_worker worker`: two unchanged servicers of `grpc.aio.server`."""

from __future__ import annotations

from forebay_workers import application
from tests.servicers.aio_greeter import AioGreeter
from tests.servicers.aio_polite import AioPolite
from tests.servicers.aio_route_guide import AioRouteGuide

app = application("servicers")
app.register(AioGreeter(), interceptors=[AioPolite()])
app.register(AioRouteGuide())

"""`celery -A tests.servicers.worker worker`: two unchanged servicers on Celery workers."""

from __future__ import annotations

from forebay_workers import application
from tests.servicers.greeter import Greeter
from tests.servicers.polite import Polite
from tests.servicers.route_guide import RouteGuide

app = application("servicers")
app.register(Greeter(), interceptors=[Polite()])
app.register(RouteGuide())

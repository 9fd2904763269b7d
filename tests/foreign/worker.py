"""The Celery application of the servicers; it finds their routes by the setting `routes`."""

from __future__ import annotations

from forebay_workers import application
from tests.foreign.servicers import Channelz, Traces

app = application("foreign")
app.register(Channelz())
app.register(Traces())

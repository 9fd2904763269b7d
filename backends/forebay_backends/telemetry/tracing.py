"""Sets up tracing as OpenTelemetry's own environment variables say, or as the program has done.

OpenTelemetry is imported only if the variables name an exporter, or if the program has set up
OpenTelemetry's SDK itself. Each process makes its own `Tracing`. A process that forks makes none
before: exporters have threads and connections, which a child can't use.
"""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forebay_backends.telemetry.spans import Tracing

_EXPORTER = "OTEL_TRACES_EXPORTER"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_GROUP = "opentelemetry_traces_exporter"
_GRPC_EXPORTER = "opentelemetry.exporter.otlp.proto.grpc.trace_exporter"

_log = logging.getLogger(__name__)


class TracingError(ValueError):
    """OpenTelemetry's variables name an exporter that is not installed, or an unknown protocol."""


def exporters_wanted() -> tuple[str, ...]:
    """The names of the exporters that OpenTelemetry's variables ask for."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ()
    given = os.environ.get(_EXPORTER, "").strip()
    if not given:
        return ("otlp",) if any(os.environ.get(name) for name in _ENDPOINTS) else ()
    names = tuple(name.strip() for name in given.split(",") if name.strip())
    return () if "none" in names else names


def import_tracing() -> None:
    """Imports the modules of `make_tracing` before a fork, so that children share their memory."""
    if exporters_wanted():
        try:
            import forebay_backends.telemetry.spans  # noqa: F401 - loads it

            _exporter_classes()
        except ImportError:
            return


def make_tracing(service: str) -> Tracing | None:
    """The process's `Tracing`, exported as the variables say; None if it traces nothing.

    `service` is the `service.name`, unless the variables or the program's SDK give another. None,
    with a warning, if the extra `otel` is missing. Raises TracingError.
    """
    if _has_sdk():
        from forebay_backends.telemetry.spans import own_tracing

        return own_tracing()
    if not exporters_wanted():
        return None
    try:
        from forebay_backends.telemetry.spans import new_tracing
    except ImportError:
        _log.warning("OpenTelemetry's variables ask for traces, but the extra `otel` is missing")
        return None
    return new_tracing(service, [make() for make in _exporter_classes()])


def _has_sdk() -> bool:
    """Whether the program has set up a tracer provider of its own."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or "opentelemetry.sdk.trace" not in sys.modules:
        return False
    sdk = sys.modules["opentelemetry.sdk.trace"]
    return isinstance(trace.get_tracer_provider(), sdk.TracerProvider)


def _exporter_classes() -> list[Any]:
    return [_exporter_class(name) for name in exporters_wanted()]


def _exporter_class(name: str) -> Any:
    protocol = next((os.environ[each] for each in _PROTOCOLS if os.environ.get(each)), "grpc")
    if name == "otlp" and protocol.startswith("http"):
        if protocol != "http/protobuf":
            raise TracingError(f"{_PROTOCOLS[1]} = {protocol!r}: expected grpc or http/protobuf")
        name = "otlp_proto_http"
    for found in entry_points(group=_GROUP, name=name):
        return taking_light_spans(found.load())
    known = ", ".join(sorted({found.name for found in entry_points(group=_GROUP)} | {"none"}))
    raise TracingError(f"{_EXPORTER} = {name!r}: not installed; expected one of {known}")


def taking_light_spans(exporter: Any) -> Any:
    """Our exporter in place of OpenTelemetry's by gRPC, if that can be extended as ours does it."""
    if exporter.__module__ != _GRPC_EXPORTER or "_translate_data" not in vars(exporter):
        return exporter
    from forebay_backends.telemetry.light_span_exporter import LightSpanExporter

    return LightSpanExporter

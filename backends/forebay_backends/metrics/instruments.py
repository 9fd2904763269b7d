"""Every metric, as data.

Names follow OpenTelemetry's conventions for RPCs where there is one, and end with the unit:
https://opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics/

Labels have few values: a method that is not served is `other`, and no label has an id.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

OTHER = "other"
"""The value of a label whose real value would be one of too many."""

DURATION_BUCKETS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
"""Seconds: from half a millisecond to ten minutes."""
SIZE_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)


class Kind(StrEnum):
    """The kinds of metrics in Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Source(StrEnum):
    """Which processes report a metric.

    `GATEWAY` and `WORKER` metrics are a process's own. `FLEET` figures are read from ledger and
    broker at a scrape: each gateway reports the same ones, so that queries take the maximum.
    """

    GATEWAY = "gateway"
    WORKER = "worker"
    FLEET = "fleet"


@dataclass(frozen=True)
class Instrument:
    """A metric; `buckets` are a histogram's."""

    name: str
    kind: Kind
    sources: frozenset[Source]
    unit: str
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


_GATEWAY = frozenset({Source.GATEWAY})
_BOTH = frozenset({Source.GATEWAY, Source.WORKER})
_FLEET = frozenset({Source.FLEET})


def _seconds(
    name: str, sources: frozenset[Source], labels: tuple[str, ...], text: str
) -> Instrument:
    return Instrument(name, Kind.HISTOGRAM, sources, "seconds", labels, text, DURATION_BUCKETS)


INSTRUMENTS = (
    _seconds(
        "rpc_server_call_duration_seconds",
        _GATEWAY,
        ("rpc_method", "rpc_response_status_code"),
        "RPCs of all services, from their headers to their status",
    ),
    Instrument(
        "forebay_calls_accepted_total",
        Kind.COUNTER,
        _GATEWAY,
        "calls",
        ("method",),
        "Calls that the gateway accepted; attaching to a known call does not count",
    ),
    Instrument(
        "forebay_calls_ended_total",
        Kind.COUNTER,
        _GATEWAY,
        "calls",
        ("method", "reason"),
        "Accepted calls whose RPC ended here: OK, an error's reason, or DISCONNECTED if the caller "
        "left first",
    ),
    _seconds(
        "forebay_queue_wait_seconds",
        _GATEWAY,
        ("method",),
        "From the acceptance of a call to its handler's start",
    ),
    _seconds(
        "forebay_run_seconds",
        _BOTH,
        ("method",),
        "Run time of a call's last attempt; at workers, of each attempt",
    ),
    _seconds(
        "forebay_first_item_seconds",
        _GATEWAY,
        ("method",),
        "From the acceptance of a call to its first item, of methods that stream responses",
    ),
    Instrument(
        "forebay_items_total",
        Kind.COUNTER,
        _GATEWAY,
        "items",
        ("method", "kind"),
        "Items that were sent to callers; kind: lasting, or transient as the route says",
    ),
    Instrument(
        "forebay_item_bytes_total",
        Kind.COUNTER,
        _GATEWAY,
        "bytes",
        ("method", "kind"),
        "Bytes of these items",
    ),
    Instrument(
        "forebay_calls",
        Kind.GAUGE,
        _BOTH | _FLEET,
        "calls",
        ("method", "state"),
        "Calls now. IN_FLIGHT: accepted by this process, and its RPC is open. RUNNING: handlers "
        "that run, at this worker or, from a gateway, in the fleet. RESERVED: taken from the queue "
        "by this worker, and not begun",
    ),
    Instrument(
        "forebay_queue_calls",
        Kind.GAUGE,
        _FLEET,
        "calls",
        ("queue",),
        "Calls that wait for a worker",
    ),
    Instrument(
        "forebay_queue_oldest_wait_seconds",
        Kind.GAUGE,
        _FLEET,
        "seconds",
        ("queue",),
        "How long the oldest of them has waited",
    ),
    Instrument(
        "forebay_queue_expected_wait_seconds",
        Kind.GAUGE,
        _GATEWAY,
        "seconds",
        ("queue",),
        "How long the next call would wait, as this process expects; absent while that is unknown",
    ),
    Instrument(
        "forebay_slots",
        Kind.GAUGE,
        _FLEET,
        "calls",
        ("queue",),
        "How many calls of the queue the live workers can run at a time",
    ),
    Instrument(
        "forebay_batch_size",
        Kind.HISTOGRAM,
        _GATEWAY,
        "calls",
        ("method",),
        "Calls in one message",
        SIZE_BUCKETS,
    ),
    Instrument(
        "forebay_attempts_lost_total",
        Kind.COUNTER,
        _BOTH,
        "attempts",
        ("queue",),
        "Attempts whose worker, or message, was lost",
    ),
    Instrument(
        "forebay_reruns_total",
        Kind.COUNTER,
        _BOTH,
        "calls",
        ("queue",),
        "Calls that were queued again after a lost attempt",
    ),
    Instrument(
        "forebay_messages_resent_total",
        Kind.COUNTER,
        _BOTH,
        "messages",
        ("queue",),
        "Messages that were sent again, because the broker or a worker had lost them",
    ),
    Instrument(
        "forebay_messages_refused_total",
        Kind.COUNTER,
        _BOTH,
        "messages",
        ("reason",),
        "Messages of broker or ledger that were refused because of their signature; reason: "
        "unsigned, unknown key, altered, replayed",
    ),
    Instrument(
        "forebay_refused_total",
        Kind.COUNTER,
        _GATEWAY,
        "calls",
        ("method", "reason"),
        "Calls that were refused before they were accepted, by the error's reason",
    ),
    Instrument(
        "forebay_cache_calls_total",
        Kind.COUNTER,
        _GATEWAY,
        "calls",
        ("method", "kind"),
        "Calls that may share a run: `new` began one, `running` and `finished` joined one",
    ),
    Instrument(
        "forebay_auth_total",
        Kind.COUNTER,
        _GATEWAY,
        "RPCs",
        ("result",),
        "RPCs that need an identity, by the guard's decision: OK, or the error's reason",
    ),
    _seconds("forebay_ledger_seconds", _BOTH, ("operation",), "Round trips to the ledger"),
    Instrument(
        "forebay_ledger_up",
        Kind.GAUGE,
        _GATEWAY,
        "",
        (),
        "1 if the ledger answered the last health check, else 0",
    ),
    Instrument("forebay_broker_up", Kind.GAUGE, _GATEWAY, "", (), "The same for the main broker"),
    Instrument(
        "forebay_held_bytes",
        Kind.GAUGE,
        _GATEWAY,
        "bytes",
        (),
        "Memory that calls and arriving requests hold; max_held_bytes is its limit",
    ),
    Instrument(
        "forebay_watches",
        Kind.GAUGE,
        _GATEWAY,
        "RPCs",
        (),
        "RPCs that follow durable calls",
    ),
    Instrument(
        "forebay_event_loop_lag_seconds",
        Kind.HISTOGRAM,
        _GATEWAY,
        "seconds",
        (),
        "How late the event loop runs callbacks that are due",
        DURATION_BUCKETS,
    ),
    Instrument(
        "forebay_event_loop_slow_callbacks_total",
        Kind.COUNTER,
        _GATEWAY,
        "callbacks",
        (),
        "Callbacks that ran for over 100 ms, so that no other call went on; the log names some",
    ),
    Instrument(
        "forebay_identity_problems",
        Kind.GAUGE,
        _GATEWAY,
        "problems",
        ("of",),
        "Files and URLs that can't be used as they are now, so that the last good keys and "
        "certificates are in force, unknown roles of API keys, and an audit log that can't be "
        "written; of: tokens, tls, audit",
    ),
    Instrument(
        "forebay_jwks_age_seconds",
        Kind.GAUGE,
        _GATEWAY,
        "seconds",
        ("issuer",),
        "Time since the issuer's public keys were last fetched; after 24 h they are not used",
    ),
    Instrument(
        "forebay_certificate_expiry_seconds",
        Kind.GAUGE,
        _GATEWAY,
        "seconds",
        ("certificate",),
        "Until the certificate in force expires: server, or the first of client_ca",
    ),
    Instrument(
        "forebay_tenant_calls",
        Kind.GAUGE,
        _GATEWAY,
        "calls",
        ("tenant", "state"),
        "Calls of a tenant at this process now. IN_FLIGHT: RPCs that are open. WAITING: calls that "
        "wait for a worker. Tenants that the settings do not name count as `other`",
    ),
    Instrument(
        "forebay_tenant_ended_total",
        Kind.COUNTER,
        _GATEWAY,
        "calls",
        ("tenant", "reason"),
        "Accepted calls of a tenant whose RPC ended here, as forebay_calls_ended_total; "
        "`other` as above",
    ),
    Instrument(
        "forebay_tenant_refused_total",
        Kind.COUNTER,
        _GATEWAY,
        "calls",
        ("tenant", "quota"),
        "Calls that were refused because their tenant had used up a quota; `other` as above",
    ),
)
BY_NAME = {one.name: one for one in INSTRUMENTS}

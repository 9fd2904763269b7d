"""URLs that turn off the verification of a backend's certificate."""

from __future__ import annotations

from forebay_backends.urls.amqp_server import amqp_server, is_amqp
from forebay_backends.urls.redis_server import is_redis, redis_server
from forebay_backends.urls.tls import Tls


def unverified_option(url: str) -> str | None:
    """The URL's option that lets anyone impersonate the backend; None without one.

    Always None for kinds of result backends whose URLs Forebay does not parse.
    """
    tls: Tls | None = None
    if is_redis(url):
        tls = redis_server(url).tls
    elif is_amqp(url):
        tls = amqp_server(url).tls
    if tls is None or (tls.verify and tls.check_hostname):
        return None
    return "ssl_check_hostname=false" if tls.verify else "ssl_cert_reqs=none"

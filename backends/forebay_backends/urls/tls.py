"""TLS to a backend: the trusted CAs, and the certificate that Forebay presents."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VERIFY = {
    "required": True,
    "optional": True,  # as `required`: a server always sends a certificate
    "none": False,
    "cert_required": True,
    "cert_optional": True,
    "cert_none": False,
}
"""Whether to verify, by `ssl_cert_reqs` in redis-py's and Celery's spelling, in lower case."""

OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
"""The options of a URL; redis-py and Celery use the same names."""


@dataclass(frozen=True)
class Tls:
    """The settings of a TLS connection; files are PEM, and empty if unset.

    Without `ca`, the system's CAs are trusted. The server's certificate and host name are verified
    unless the URL turns that off.
    """

    ca: str = ""
    certificate: str = ""
    key: str = ""
    verify: bool = True
    check_hostname: bool = True

    def with_options(self, options: Mapping[str, str]) -> Tls:
        """These settings, overridden by a URL's options; raises ValueError for invalid values."""
        verify = options.get("ssl_cert_reqs", "required" if self.verify else "none").lower()
        if verify not in VERIFY:
            raise ValueError("ssl_cert_reqs: expected required or none")
        check = options.get("ssl_check_hostname", str(self.check_hostname)).lower()
        if check not in ("true", "false"):
            raise ValueError("ssl_check_hostname: expected true or false")
        return Tls(
            options.get("ssl_ca_certs", self.ca),
            options.get("ssl_certfile", self.certificate),
            options.get("ssl_keyfile", self.key),
            VERIFY[verify],
            VERIFY[verify] and check == "true",
        )

    @property
    def options(self) -> dict[str, str]:
        """The URL options from which `with_options` makes these settings."""
        given = {
            "ssl_ca_certs": self.ca,
            "ssl_certfile": self.certificate,
            "ssl_keyfile": self.key,
            "ssl_cert_reqs": "" if self.verify else "none",
            "ssl_check_hostname": "" if self.check_hostname or not self.verify else "false",
        }
        return {name: value for name, value in given.items() if value}

    def for_redis(self) -> dict[str, Any]:
        """Arguments of redis-py's SSLConnection; kombu passes the same ones."""
        return {
            "ssl_ca_certs": self.ca or None,
            "ssl_certfile": self.certificate or None,
            "ssl_keyfile": self.key or None,
            "ssl_cert_reqs": ssl.CERT_REQUIRED if self.verify else ssl.CERT_NONE,
            "ssl_check_hostname": self.check_hostname,
        }

    def for_amqp(self, host: str) -> dict[str, Any]:
        """Arguments of py-amqp's SSLTransport, which checks the host name only if one is given."""
        return {
            "ca_certs": self.ca or None,
            "certfile": self.certificate or None,
            "keyfile": self.key or None,
            "cert_reqs": ssl.CERT_REQUIRED if self.verify else ssl.CERT_NONE,
            **({"server_hostname": host} if self.check_hostname else {}),
        }

"""Headers of HTTP to metadata, and back. Pure."""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterable

from forebay.errors import InvalidRequest, TooLarge
from forebay.metadata import Pairs
from forebay_gateway.fronts.native.head import MAX_METADATA_BYTES, metadata_headers
from forebay_gateway.rpc.metadata_size import ENTRY_BYTES
from forebay_gateway.web.exchange import Headers

Metadata = list[tuple[str, str | bytes]]

_OF_HTTP = frozenset(
    b"accept accept-charset accept-encoding accept-language cache-control connection"
    b" content-encoding content-length content-type cookie cookie2 date dnt expect host if-match"
    b" if-modified-since"
    b" if-none-match if-range if-unmodified-since keep-alive last-event-id origin pragma"
    b" proxy-authorization proxy-connection range referer te trailer transfer-encoding upgrade"
    b" upgrade-insecure-requests via x-grpc-web x-http-method-override".split()
)
"""Request headers that browsers and proxies send of their own, or that say how it is sent."""
_OF_PROTOCOLS = (b"grpc-", b"connect-", b"sec-", b"access-control-")
_RESERVED = re.compile(
    r"(?:grpc-|connect-|content-|access-control-|sec-|proxy-|trailer-).*"
    r"|age|allow|alt-svc|cache-control|clear-site-data|connection|date|etag|expires|keep-alive"
    r"|last-modified|link|location|refresh|server|set-cookie2?|strict-transport-security"
    r"|te|trailer|transfer-encoding|upgrade|vary|www-authenticate|x-content-type-options"
    r"|x-frame-options"
)
"""What metadata of handlers must not decide of a response of HTTP."""


def request_metadata(headers: Iterable[tuple[bytes, bytes]]) -> Metadata:
    """The caller's metadata.

    Raises InvalidRequest for a `-bin` value that is not base64, TooLarge for what no front takes.
    """
    metadata: Metadata = []
    size = 0
    for name, value in headers:
        if name in _OF_HTTP or name.startswith(_OF_PROTOCOLS):
            continue
        size += len(name) + len(value) + ENTRY_BYTES
        key = name.decode("latin-1")
        if name.endswith(b"-bin"):
            metadata.extend((key, part) for part in _binary(key, value))
        else:
            metadata.append((key, _text(value)))
    if size > MAX_METADATA_BYTES:
        raise TooLarge(
            f"the request has {size} bytes of metadata; at most {MAX_METADATA_BYTES} are accepted"
        )
    return metadata


def response_headers(pairs: Pairs, prefix: bytes = b"") -> Headers:
    """The pairs as headers, without those that HTTP or a protocol reads itself."""
    own = [pair for pair in pairs if _RESERVED.fullmatch(pair[0]) is None]
    return [(prefix + name, value) for name, value in metadata_headers(own)]


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _binary(key: str, value: bytes) -> Iterable[bytes]:
    """Values of one key may be joined by commas; padding is optional."""
    for part in value.split(b","):
        text = part.strip()
        try:
            yield a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
        except Base64Error:
            raise InvalidRequest(f"the value of the header {key} is not base64") from None

"""Splits a backend's URL, and rejects a URL that a library would parse differently.

Error messages show only the scheme of a URL and the names of its options: anything else may be
part of a password that was not percent-encoded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from forebay_backends.urls.redaction import scheme_only

ENCODE = (
    "; in a password write each character but letters, digits and - . _ ~ in percent-encoding: "
    "@ as %40, : as %3A, / as %2F, # as %23, ? as %3F, [ as %5B, % as %25"
)
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\]")


class BackendUrlError(ValueError):
    """An invalid URL of a backend; the message shows only its scheme."""


@dataclass(frozen=True)
class Parts:
    """A URL's parts.

    User name, password and options are decoded; `path` is as written. Each host has a port.
    """

    scheme: str
    username: str = field(repr=False)
    password: str = field(repr=False)
    hosts: tuple[tuple[str, int], ...]
    path: str
    options: dict[str, str]


def scheme_of(url: str) -> str:
    return url.partition("://")[0].lower() if "://" in url else ""


def split(url: str, form: str, port: int, options: Collection[str]) -> Parts:
    """The parts of `SCHEME://USER:PASSWORD@HOST:PORT,HOST:PORT/PATH?OPTIONS`.

    `port` is the default port. `form` is the expected form of the URL, for the error message;
    `options` are the known names. Raises BackendUrlError.
    """
    try:
        parts = urlsplit(url)
        userinfo, _, hosts = parts.netloc.rpartition("@")
        _refuse(("@" in parts.path + parts.query) or "#" in url or re.search(r"\s", url), url, form)
        username, _, password = userinfo.partition(":")
        return Parts(
            parts.scheme,
            unquote(username),
            unquote(password),
            tuple(_host(each, port) for each in hosts.split(",")),
            parts.path,
            _options(url, parts.query, options),
        )
    except BackendUrlError:
        raise
    except ValueError:
        pass  # raised below instead of here: this error's text and traceback may show the password
    raise BackendUrlError(f"{scheme_only(url)!r}: expected {form}{ENCODE}")


def userinfo(username: str, password: str) -> str:
    """The part of a URL before the host, with its `@`, encoded; empty without user and password."""
    if not username and not password:
        return ""
    return quote(username, safe="") + (f":{quote(password, safe='')}" if password else "") + "@"


def query(options: dict[str, str]) -> str:
    """The end of a URL with these options, from the `?`; empty without options."""
    return f"?{urlencode(options, quote_via=quote, safe='/')}" if options else ""


def number(options: Mapping[str, str], name: str, least: float, most: float) -> float | None:
    """An option's number; None if it is not given. Raises ValueError, which hides the value."""
    text = options.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not least <= float(text) <= most:
        raise ValueError(f"{name}: expected seconds, {least:g} to {most:g}")
    return float(text)


def _refuse(wrong: object, url: str, form: str) -> None:
    if wrong:
        raise BackendUrlError(f"{scheme_only(url)!r}: expected {form}{ENCODE}")


def _host(text: str, default_port: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text, str(default_port)
    if not _HOST.fullmatch(host) or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(text)
    return host.strip("[]").lower(), int(port)


def _options(url: str, text: str, known: Collection[str]) -> dict[str, str]:
    given = dict(parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)))
    unknown = [name for name in given if name not in known]
    if unknown:
        named = ", ".join(repr(name) for name in unknown if re.fullmatch(r"[a-z_]{1,32}", name))
        expected = f"expected one of {', '.join(known)}" if known else "such a URL has none"
        raise BackendUrlError(
            f"{scheme_only(url)!r}: no such option: {named or '…'}; {expected}"
            + ("; a password goes before the host: ://USER:PASSWORD@HOST" * ("password" in unknown))
        )
    return given

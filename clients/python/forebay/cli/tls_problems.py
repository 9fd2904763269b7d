"""Why a connection over TLS, or one in plain text to a port with TLS, fails.

gRPC's message names neither the option nor, at times, the reason. So the command connects once
more, without gRPC, and sends nothing.
"""

from __future__ import annotations

import socket
import ssl

from forebay.cli.target import Target

_TIMEOUT_S = 1.0
_ALERT = "alert "
_NO_TLS = ("wrong version number", "record layer failure", "unexpected eof while reading")
_NO_SUCH_CA = ("unable to get local issuer certificate", "self-signed certificate")


def tls_problem(address: str, target: Target) -> str | None:
    """The reason on one line, with what to do; None if it is not TLS, or `address` no HOST:PORT."""
    try:
        with _connected(address) as plain:
            if target.is_secure:
                return _secure_problem(plain, _host(address), target)
            _certificate(plain)
            return "it speaks TLS; give its CA with --ca"
    except OSError:
        return None


def alert(error: OSError) -> str | None:
    """The alert with which the other side ended TLS, as `unknown ca`; None for other errors.

    Source: RFC 8446, section 6.
    """
    if not isinstance(error, ssl.SSLError):
        return None
    return _reason(error).partition(_ALERT)[2] or None


def shown_certificate(address: str) -> bytes | None:
    """The certificate that the server shows, unverified, in DER; None without TLS."""
    try:
        with _connected(address) as plain:
            return _certificate(plain)
    except OSError:
        return None


def _connected(address: str) -> socket.socket:
    """Raises OSError; also for anything other than HOST:PORT."""
    port = address.rpartition(":")[2]
    if not port.isdecimal():
        raise ConnectionError(f"{address}: no HOST:PORT")
    return socket.create_connection((_host(address), int(port)), _TIMEOUT_S)


def _host(address: str) -> str:
    return address.rpartition("/")[2].rpartition(":")[0].strip("[]")


def _secure_problem(plain: socket.socket, host: str, target: Target) -> str | None:
    try:
        context = ssl.create_default_context(cafile=target.ca)
        if target.certificate is not None:
            context.load_cert_chain(target.certificate, target.key, password="")
    except ssl.SSLError as error:
        return _bad_file(target, error)
    context.set_alpn_protocols(["h2"])
    try:
        secure = context.wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        return _unverified(error.verify_message)
    except ssl.SSLError as error:
        return _failed(error, target)
    except ConnectionError:
        return "it ended the TLS handshake; give --insecure if it speaks plain text"
    return _refusal(secure, target)


def _refusal(secure: ssl.SSLSocket, target: Target) -> str | None:
    """A server with TLS 1.3 refuses a client's certificate after the handshake, or for lack of one.

    It need not say why. Otherwise it greets at once, with its SETTINGS.
    """
    try:
        if secure.recv(1):
            return None
    except TimeoutError:
        return None
    except OSError as error:
        if isinstance(error, ssl.SSLError) and alert(error):
            return _failed(error, target)
    if target.certificate is None:
        return "it ends the connection; it may require a client certificate, by --cert and --key"
    return "it ends the connection; it may not accept the client certificate"


def _bad_file(target: Target, error: ssl.SSLError) -> str:
    if target.certificate is None:
        return f"--ca {target.ca}: expected certificates in PEM"
    reason = "the key is not the certificate's" if error.reason == "KEY_VALUES_MISMATCH" else error
    return f"--ca, --cert {target.certificate} or --key {target.key} can't be used: {reason}"


def _unverified(message: str) -> str:
    fix = "; give its CA with --ca" if message.startswith(_NO_SUCH_CA) else ""
    return f"its certificate can't be verified: {message.rstrip('.')}{fix}"


def _failed(error: ssl.SSLError, target: Target) -> str:
    reason = _reason(error)
    if reason in _NO_TLS:
        return "it does not speak TLS; give --insecure for plain text"
    said = alert(error)
    if said is None:
        return f"the TLS handshake failed: {reason or error}"
    if target.certificate is None:
        return "it requires a client certificate; give --cert and --key"
    return f"it refused the client certificate: {said}"


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "").replace("_", " ").lower()


def _certificate(plain: socket.socket) -> bytes | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with context.wrap_socket(plain) as secure:
        return secure.getpeercert(binary_form=True)

"""Signatures of Celery messages, in the messages' headers.

A signature covers the task's name and id, the queue, the time when the message expires, and the
SHA-256 of the body. The body has the calls' keys, attempts and traces, or a batch with its
requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forebay_backends.signing.keyring import Keyring, SignatureError

KEY_ID = "forebay-key"
SIGNATURE = "forebay-signature"
EXPIRES = "forebay-expires"
"""When the message expires, in ms of the ledger's clock; 0: never."""
_KIND = "task message"


def task_signature(
    keyring: Keyring, body: bytes, task: str, task_id: str, queue: str, expires_ms: int
) -> dict[str, str]:
    """The headers that sign a message."""
    expires = str(expires_ms)
    key_id, signature = keyring.sign(body, _KIND, task, task_id, queue, expires)
    return {KEY_ID: key_id, SIGNATURE: signature.hex(), EXPIRES: expires}


def signed_expiry_ms(headers: Mapping[str, Any]) -> int:
    """When a message expires by its headers, which `verify_task` has accepted; 0 if unsigned."""
    return int(headers[EXPIRES]) if SIGNATURE in headers else 0


def verify_task(
    keyring: Keyring, headers: Mapping[str, Any], body: bytes | str, queue: str
) -> int | None:
    """When a message that came from `queue` expires (ms of the ledger's clock; 0: never).

    None if the message has no signature and needs none. Raises SignatureError for a message that
    must not be run; an expired message raises nothing.
    """
    if SIGNATURE not in headers and not keyring.is_required:
        return None
    key_id, signature, expires = (headers.get(name) for name in (KEY_ID, SIGNATURE, EXPIRES))
    if not (isinstance(key_id, str) and isinstance(signature, str) and isinstance(expires, str)):
        raise SignatureError("unsigned", f"the {_KIND} has no signature")
    names = (headers.get("task"), headers.get("id"), queue, expires)
    try:
        given, expires_ms = bytes.fromhex(signature), int(expires)
    except ValueError:
        raise SignatureError("altered", f"the {_KIND} has no valid signature") from None
    content = body.encode() if isinstance(body, str) else bytes(body)
    keyring.verify(key_id, given, content, _KIND, *names)
    return expires_ms

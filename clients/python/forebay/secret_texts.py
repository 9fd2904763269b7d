"""Recognizes a secret that was given where the name of its file is expected.

Error messages name files, so they would show the secret.
"""

from __future__ import annotations

import re

_SECRET = re.compile(
    r"fbk_[^/]*"  # an API key
    r"|eyJ[\w-]+\.[\w-]+\.[\w-]*"  # a JWT
    r"|[A-Za-z0-9+/]{43,}={1,2}"  # a signing key, of 32 bytes or more in base64
)
_PEM = "-----BEGIN "


def is_secret(text: str) -> bool:
    """Whether the text is a token or a key, or has PEM in it, rather than the name of a file."""
    return _PEM in text or _SECRET.fullmatch(text.strip()) is not None

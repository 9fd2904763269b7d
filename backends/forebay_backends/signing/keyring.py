"""Signs and verifies messages by HMAC-SHA256, and puts seals on bytes.

A signature is over a kind, such as `item`, over names that say where the message belongs, such as
the call and the ordinal, and over the SHA-256 of its bytes. So a signed message can't stand in for
one of another kind or place.

A seal is a head before the bytes: `0x07`, the length of the key's id, the id, and the signature.
No serialized protobuf message begins with `0x07`, which would be field 0 of a wire type that there
is not: so sealed and bare bytes are told apart, and a process without keys removes the seal.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from pathlib import Path

from forebay_backends.aio.watched_files import WatchedFiles
from forebay_backends.signing.keys import SigningKeys, parse_keys

REFUSALS = ("altered", "replayed", "unknown key", "unsigned")
"""Why a message is refused."""
REFRESH_S = 10.0
"""How often the file of the keys is checked for changes."""
_LOG_INTERVAL_S = 1.0
_SEAL = 0x07
_MAC_BYTES = 32
_NO_KEYS = SigningKeys({})
_OTHERS_MAY_READ = 0o077

OnRefused = Callable[[str], None]
"""Gets one of `REFUSALS`."""

_log = logging.getLogger(__name__)


class SignatureError(ValueError):
    """A message that must not be used; `reason` is one of `REFUSALS`."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Keyring:
    """The keys of this process; without keys it signs nothing and accepts everything.

    Unless `required`, messages without a signature are accepted: while keys are being introduced,
    some processes have none. Wrong signatures never are. `on_refused` counts what was refused.
    """

    def __init__(
        self,
        keys: SigningKeys = _NO_KEYS,
        *,
        required: bool = True,
        path: Path | None = None,
        on_refused: OnRefused | None = None,
    ) -> None:
        self._use(keys)
        self.is_on = bool(keys.secrets)
        self.is_required = required and self.is_on
        self._on_refused = on_refused
        self.files: WatchedFiles | None = None
        self._logged_at: dict[str, float] = {}
        if path is not None:
            self.files = WatchedFiles("the file of signing keys", [path], lambda: self._load(path))

    @classmethod
    def read(cls, path: Path, *, required: bool, on_refused: OnRefused | None = None) -> Keyring:
        """The keys of a file, which `watch` reads again; raises OSError or ValueError."""
        return cls(_read(path), required=required, path=path, on_refused=on_refused)

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the keys; the first signs."""
        return self._keys.ids

    async def watch(self) -> None:
        """Reads the file again when it has changed, until cancelled."""
        if self.files is not None:
            await self.files.watch()

    def sign(self, content: bytes, kind: str, *names: object) -> tuple[str, bytes]:
        """The id of the key that signs, and the signature."""
        key_id, keyed = next(iter(self._keyed.items()))
        return key_id, _mac(keyed, content, kind, names)

    def verify(
        self, key_id: str, signature: bytes, content: bytes, kind: str, *names: object
    ) -> None:
        """Raises SignatureError for a signature that is not that of the content in its place."""
        keyed = self._keyed.get(key_id)
        if keyed is None:
            raise SignatureError("unknown key", f"the {kind} is signed by a key unknown here")
        if not hmac.compare_digest(_mac(keyed, content, kind, names), signature):
            raise SignatureError("altered", f"the signature of the {kind} does not fit it")

    def unsigned(self, kind: str) -> None:
        """Raises SignatureError if the kind of message must have a signature."""
        if self.is_required:
            raise SignatureError("unsigned", f"the {kind} has no signature")

    def seal(self, content: bytes, kind: str, *names: object) -> bytes:
        """The content with a seal before it; without keys the content."""
        if not self.is_on:
            return content
        key_id, signature = self.sign(content, kind, *names)
        return b"".join((bytes((_SEAL, len(key_id))), key_id.encode(), signature, content))

    def open(self, sealed: bytes, kind: str, *names: object) -> bytes:
        """The content without its seal; raises SignatureError."""
        if sealed[:1] != b"\x07":
            self.unsigned(kind)
            return sealed
        at = 2 + sealed[1] if len(sealed) > 1 else 2
        content = sealed[at + _MAC_BYTES :]
        if not self.is_on:
            return content
        key_id, signature = sealed[2:at].decode("latin-1"), sealed[at : at + _MAC_BYTES]
        self.verify(key_id, signature, content, kind, *names)
        return content

    def refused(self, error: SignatureError) -> None:
        """Counts and logs what was refused, without its content; of a flood, one line a second."""
        if self._on_refused is not None:
            self._on_refused(error.reason)
        text, now = str(error), time.monotonic()
        if now - self._logged_at.get(text, -_LOG_INTERVAL_S) >= _LOG_INTERVAL_S:
            self._logged_at[text] = now
            _log.warning("a message is refused: %s", error)

    def _load(self, path: Path) -> None:
        self._use(_read(path))

    def _use(self, keys: SigningKeys) -> None:
        self._keys = keys
        # Copied for each signature: `hmac.digest` would prepare hash and key anew.
        self._keyed = {
            key_id: hmac.new(secret, digestmod="sha256") for key_id, secret in keys.secrets.items()
        }


NO_KEYS = Keyring()
"""Signs nothing, and accepts everything."""


def is_sealed(content: bytes) -> bool:
    """Whether there is a seal before the content."""
    return content[:1] == b"\x07"


def _read(path: Path) -> SigningKeys:
    if path.stat().st_mode & _OTHERS_MAY_READ:
        _log.warning("other users may read the signing keys: chmod 600 %s", path)
    try:
        return parse_keys(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None


def _mac(keyed: hmac.HMAC, content: bytes, kind: str, names: tuple[object, ...]) -> bytes:
    words = (kind, *map(str, names))
    place = "".join(f"{len(word)}:{word}" for word in words).encode()
    made = keyed.copy()
    made.update(place + hashlib.sha256(content).digest())
    return made.digest()

"""Signatures and seals."""

from __future__ import annotations

import logging
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay_backends.signing.keyring import NO_KEYS, Keyring, SignatureError
from forebay_backends.signing.keys import SigningKeys
from forebay_backends.signing.task_signatures import signed_expiry_ms, task_signature, verify_task

NEW, OLD = b"n" * 32, b"o" * 32
RING = Keyring(SigningKeys({"new": NEW, "old": OLD}))
BODY = b'[[], {"call": "/a", "attempt": 1}, {}]'


@given(st.binary(), st.text(), st.integers())
def test_what_was_sealed_opens_in_its_place(content: bytes, name: str, ordinal: int) -> None:
    sealed = RING.seal(content, "item", name, ordinal)
    assert RING.open(sealed, "item", name, ordinal) == content
    assert NO_KEYS.open(sealed, "item", name, ordinal) == content


@given(st.binary(), st.data())
def test_no_other_byte_opens(content: bytes, data: st.DataObject) -> None:
    sealed = bytearray(RING.seal(content, "item", "a"))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SignatureError):
        RING.open(bytes(sealed), "item", "a")


@given(st.binary(max_size=80))
def test_nothing_opens_that_was_not_sealed(content: bytes) -> None:
    for text in (content, b"\x07" + content, b"\x07\x03new" + content):
        with pytest.raises(SignatureError):
            RING.open(text, "item", "a")


@given(st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3))
def test_a_seal_fits_one_place(names: list[str], others: list[str]) -> None:
    sealed = RING.seal(b"content", "item", *names)
    if names == others:
        RING.open(sealed, "item", *others)
        return
    with pytest.raises(SignatureError, match="does not fit"):
        RING.open(sealed, "item", *others)


def test_a_seal_fits_one_kind() -> None:
    with pytest.raises(SignatureError):
        RING.open(RING.seal(b"", "item", "a"), "outcome", "a")


def test_the_first_key_signs_and_all_verify() -> None:
    old = Keyring(SigningKeys({"old": OLD}))
    assert RING.open(old.seal(b"content", "item"), "item") == b"content"
    with pytest.raises(SignatureError, match="unknown") as caught:
        old.open(RING.seal(b"content", "item"), "item")
    assert caught.value.reason == "unknown key"


def test_unsigned_content_is_accepted_unless_it_is_required_but_bad_seals_never_are() -> None:
    lenient = Keyring(SigningKeys({"new": NEW}), required=False)
    assert lenient.open(b"content", "item") == b"content"
    with pytest.raises(SignatureError, match="no signature"):
        RING.open(b"content", "item")
    with pytest.raises(SignatureError):
        lenient.open(RING.seal(b"content", "item", "a"), "item", "b")


def test_without_keys_nothing_changes() -> None:
    content = b"content"
    assert NO_KEYS.seal(content, "item") is content
    assert NO_KEYS.open(content, "item") is content


def test_a_task_is_verified_by_what_it_was_signed_for() -> None:
    headers = {"task": "t", "id": "i", **task_signature(RING, BODY, "t", "i", "q", 5)}
    assert verify_task(RING, headers, BODY, "q") == 5
    assert verify_task(RING, headers, BODY.decode(), "q") == 5
    assert (signed_expiry_ms(headers), signed_expiry_ms({})) == (5, 0)
    assert verify_task(NO_KEYS, {}, BODY, "q") is None
    changes = ({"task": "u"}, {"id": "j"}, {"forebay-expires": "6"}, {"forebay-signature": "00"})
    for change in changes:
        with pytest.raises(SignatureError):
            verify_task(RING, headers | change, BODY, "q")
    for body, queue in ((BODY + b" ", "q"), (BODY, "r")):
        with pytest.raises(SignatureError):
            verify_task(RING, headers, body, queue)


@pytest.mark.parametrize("wrong", [None, 5, [], "zz", "x" * 64, "5.0"])
@pytest.mark.parametrize("name", ["forebay-key", "forebay-signature", "forebay-expires"])
def test_headers_of_other_types_are_refused(name: str, wrong: object) -> None:
    headers = {"task": "t", "id": "i", **task_signature(RING, BODY, "t", "i", "q", 5), name: wrong}
    with pytest.raises(SignatureError):
        verify_task(RING, headers, BODY, "q")


def test_a_changed_file_is_read_again_and_a_bad_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys.toml"

    def write(*names: str) -> None:
        lines = (f'{name} = "{b64encode(name.encode() * 32).decode()}"\n' for name in names)
        path.write_text("".join(["[keys]\n", *lines]))

    write("a")
    path.chmod(0o644)
    ring = Keyring.read(path, required=True)
    assert "chmod 600" in caplog.text
    assert ring.files is not None
    write("a", "b")
    ring.files.refresh()
    assert ring.ids == ("a", "b")
    path.write_text("[keys]\n" + "x" * 100)
    ring.files.refresh()
    assert ring.ids == ("a", "b")
    assert ring.files.problem is not None
    assert "xxx" not in caplog.text
    path.unlink()
    ring.files.refresh()
    assert ring.ids == ("a", "b")


def test_a_flood_of_refused_messages_is_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counted: list[str] = []
    ring = Keyring(SigningKeys({"new": NEW}), on_refused=counted.append)
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            ring.refused(SignatureError("altered", "the item is bad"))
    assert len(counted) == 1000
    assert caplog.text.count("the item is bad") == 1

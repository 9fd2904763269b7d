"""The file of signing keys."""

from __future__ import annotations

from base64 import b64encode

import pytest

from forebay_backends.signing.keys import parse_keys

SECRET = b64encode(b"0123456789abcdef" * 2).decode()


def test_the_first_key_signs() -> None:
    keys = parse_keys(f'[keys]\n2026-11 = "{SECRET}"\n"2026.05" = "{SECRET}"\n')
    assert keys.ids == ("2026-11", "2026.05")
    assert keys.secrets["2026-11"] == b"0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected only the table"),
        ("[keys]\n", "expected only the table"),
        ('keys = "a"\n', "expected only the table"),
        (f'[keys]\na = "{SECRET}"\n[more]\n', "expected only the table"),
        (f'[keys]\na = "{SECRET}', "it is not TOML"),
        (f'[keys]\n"a b" = "{SECRET}"\n', "is not a valid key id"),
        (f'[keys]\n"" = "{SECRET}"\n', "is not a valid key id"),
        (f'[keys]\n{"a" * 65} = "{SECRET}"\n', "is not a valid key id"),
        (f'[keys]\n2026.05 = "{SECRET}"\n', "expected 32 bytes"),
        (f'[keys]\na = "{SECRET[:-4]}"\n', "expected 32 bytes"),
        (f'[keys]\na = "{SECRET}!"\n', "expected 32 bytes"),
        ('[keys]\na = "ä"\n', "expected 32 bytes"),
        ("[keys]\na = 5\n", "expected 32 bytes"),
    ],
)
def test_an_unfit_file_is_refused_without_showing_a_key(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected) as caught:
        parse_keys(text)
    assert SECRET[:8] not in str(caught.value)


def test_keys_are_not_shown() -> None:
    assert "0123" not in repr(parse_keys(f'[keys]\na = "{SECRET}"\n'))

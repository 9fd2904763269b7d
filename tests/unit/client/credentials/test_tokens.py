"""Tokens: what is one, and where it may be sent."""

from __future__ import annotations

from typing import Any

import pytest

import forebay
import forebay.aio
from forebay.credentials.tokens import TokenError, bearer, check_token

TOKEN = "token"  # noqa: S105 - of nobody


async def coming() -> str:
    return "token"


def test_a_token_becomes_a_bearers() -> None:
    assert bearer("eyJ.a-b_c~+/=") == "Bearer eyJ.a-b_c~+/="


@pytest.mark.parametrize("token", ["", "a b", "secret\n", "sécret", "a\0b", None, b"secret", 5])
def test_another_value_is_no_token_and_is_not_shown(token: Any) -> None:
    with pytest.raises(TokenError) as refused:
        bearer(token)
    assert "secret" not in str(refused.value)
    assert "sécret" not in str(refused.value)


def test_an_async_function_is_for_asyncio() -> None:
    check_token(coming, ["localhost:1"], is_secure=False, is_async=True)
    with pytest.raises(TypeError, match=r"forebay\.aio"):
        check_token(coming, ["localhost:1"], is_secure=False, is_async=False)


@pytest.mark.parametrize("token", [5, b"token", ["token"]])
def test_another_type_is_refused(token: Any) -> None:
    with pytest.raises(TypeError, match="expected str, or a function"):
        check_token(token, ["localhost:1"], is_secure=True, is_async=True)


@pytest.mark.parametrize("connect", [forebay.connect, forebay.channel])
@pytest.mark.parametrize("target", ["gateway.example:1", "localhost:1,gateway.example:2"])
def test_a_token_in_plain_text_is_for_loopback_alone(connect: Any, target: str) -> None:
    with pytest.raises(ValueError, match=r"gateway\.example.*needs TLS.*credentials="):
        connect(target, token=TOKEN)
    with pytest.raises(ValueError, match="blank"):
        connect("localhost:1", token=f"{TOKEN} b")


@pytest.mark.parametrize("connect", [forebay.aio.connect, forebay.aio.channel])
async def test_also_with_asyncio(connect: Any) -> None:
    with pytest.raises(ValueError, match=r"gateway\.example.*needs TLS"):
        connect("gateway.example:1", token=coming)

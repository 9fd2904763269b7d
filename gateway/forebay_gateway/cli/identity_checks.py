"""Asks the gateways what the caller of `forebay doctor` may do."""

from __future__ import annotations

import grpc

from forebay.channels import aio_dial
from forebay.cli.target import Target
from forebay.cli.whoami import expiry
from forebay.rpc_errors import of_rpc_error
from forebay.v1.calls_pb2 import WhoAmIRequest, WhoAmIResponse
from forebay.v1.calls_pb2_grpc import CallServiceStub
from forebay_gateway.cli.finding import Finding

_TIMEOUT_S = 2.0
_SUBJECT = "identity"


async def identity_finding(address: str, target: Target) -> Finding | None:
    """The caller's identity; None if the gateway has no authentication, or does not answer."""
    async with aio_dial(address, target.credentials(), target.token(), ()) as channel:
        stub = CallServiceStub(channel)
        try:
            answer: WhoAmIResponse = await stub.WhoAmI(WhoAmIRequest(), timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
                return None  # the gateway's own finding tells why, or it is an older one
            fix = (
                "name the file of a token with --token-file, or give a certificate that it knows"
                if target.token_file is None
                else f"get a fresh token, and put it in {target.token_file}"
            )
            return Finding(_SUBJECT, False, f"{address}: {of_rpc_error(error)}", fix)
    return _of_answer(address, answer) if answer.authenticated else None


def _of_answer(address: str, answer: WhoAmIResponse) -> Finding:
    who = f"{address} knows you as {answer.subject} of {answer.tenant}"
    if not answer.permissions:
        roles = ", ".join(answer.roles) or "none"
        fix = "give the token a role that [roles] of the gateway's settings defines"
        return Finding(_SUBJECT, False, f"{who}, who may do nothing; its roles: {roles}", fix)
    lasts = f", until {expiry(answer)}" if answer.HasField("expire_time") else ""
    return Finding(_SUBJECT, True, f"{who}, who may do {', '.join(answer.permissions)}{lasts}")

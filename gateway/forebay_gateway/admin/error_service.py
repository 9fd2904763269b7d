"""`forebay.v1.CallService/ListErrors`: the errors of the last hour."""

from __future__ import annotations

import time

from forebay.errors import ForebayError
from forebay.v1 import calls_pb2 as pb
from forebay_backends.ledger.keys import CallKey
from forebay_gateway.admin.call_access import CallAccess
from forebay_gateway.admin.call_names import name_of
from forebay_gateway.admin.call_service import SERVICE
from forebay_gateway.admin.error_samples import (
    Errors,
    ErrorSamples,
    Kind,
    added,
    errors_json,
    parse_errors,
)
from forebay_gateway.admin.fleet_messages import stamp
from forebay_gateway.admin.siblings import Siblings
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.own_methods import OwnMethod, by_path, unary

_SHARE = "errors"


class ErrorService:
    """Serves the RPC for one gateway process, which reports each error to `failed`."""

    def __init__(self, access: CallAccess, siblings: Siblings) -> None:
        self._access = access
        self._siblings = siblings
        self._samples = ErrorSamples()
        siblings.share(_SHARE, lambda _: errors_json(self._samples.last_hour(time.time())))

    def own_methods(self) -> dict[str, OwnMethod]:
        """The method, by its path."""
        return by_path(SERVICE, {"ListErrors": unary(pb.ListErrorsRequest, self.list_errors)})

    def failed(self, tenant: str, method: str, error: ForebayError, call_id: str) -> None:
        """Records that an RPC failed; `call_id` is empty if its call has no record."""
        kind = Kind(tenant, method, error.code, error.reason)
        self._samples.add(time.time(), kind, error.message, call_id)

    async def list_errors(
        self, request: pb.ListErrorsRequest, context: Context
    ) -> pb.ListErrorsResponse:
        """The errors of all processes that answer."""
        owner = self._access.collection(request.parent, context, f"{SERVICE}/ListErrors", "parent")
        answers = await self._siblings.ask(_SHARE, 0)
        own = self._samples.last_hour(time.time())
        caller = context.principal.tenant
        return pb.ListErrorsResponse(
            errors=[
                _message(kind, errors, caller)
                for kind, errors in added([own, *map(parse_errors, answers)]).items()
                if owner in (None, kind.tenant) and request.method in ("", kind.method)
            ],
            processes=1 + len(answers),
        )


def _message(kind: Kind, errors: Errors, caller: str) -> pb.ErrorSample:
    return pb.ErrorSample(
        method=kind.method,
        code=kind.code,
        reason=kind.reason,
        tenant=kind.tenant,
        count=errors.count,
        first_time=stamp(errors.first_s * 1000),
        last_time=stamp(errors.last_s * 1000),
        message=errors.message,
        calls=[name_of(CallKey(call_id, kind.tenant), caller) for call_id in errors.calls],
    )

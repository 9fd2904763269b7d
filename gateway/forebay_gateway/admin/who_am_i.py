"""`forebay.v1.CallService/WhoAmI`: the caller's identity at the gateway."""

from __future__ import annotations

from collections.abc import Sequence

from forebay.routes import Method
from forebay.v1 import calls_pb2 as pb
from forebay_gateway.admin.call_service import SERVICE
from forebay_gateway.identity.permissions import Roles
from forebay_gateway.identity.requirements import MayCall
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.own_methods import OwnMethod, by_path, unary


class WhoAmI:
    """Serves the RPC, even without a ledger. `roles` is None without authentication."""

    def __init__(self, methods: Sequence[Method], roles: Roles | None, may_call: MayCall) -> None:
        self._methods = sorted(methods, key=lambda method: method.name)
        self._roles = roles
        self._may_call = may_call

    def own_methods(self) -> dict[str, OwnMethod]:
        """The method, by its path."""
        return by_path(SERVICE, {"WhoAmI": unary(pb.WhoAmIRequest, self.who_am_i)})

    async def who_am_i(self, request: pb.WhoAmIRequest, context: Context) -> pb.WhoAmIResponse:
        """The caller, and what it may do."""
        caller = context.principal
        response = pb.WhoAmIResponse(
            authenticated=self._roles is not None,
            tenant=caller.tenant,
            subject=caller.subject,
            roles=caller.roles,
            permissions=() if self._roles is None else self._roles.patterns_of(caller.roles),
            issuer=caller.issuer,
            key_id=caller.key_id,
            methods=[one.name for one in self._methods if self._may_call(caller, one.path)],
        )
        if caller.expires_at is not None:
            response.expire_time.FromMilliseconds(int(caller.expires_at * 1000))
        return response

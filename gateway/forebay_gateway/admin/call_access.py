"""Checks which calls a caller may reach by the names of operations, and writes the audit log."""

from __future__ import annotations

from forebay.errors import PermissionDenied
from forebay_backends.ledger.keys import CallKey
from forebay_gateway.admin.call_names import call_of, owner_of_collection
from forebay_gateway.audit.audit_log import NO_AUDIT, AuditLog
from forebay_gateway.audit.entry import Event
from forebay_gateway.identity.permissions import ANY_TENANT, CANCEL, DELETE, READ
from forebay_gateway.identity.tenant_access import May, check_tenant, reaches_tenant
from forebay_gateway.rpc.context import Context

_PERMISSIONS = {Event.READ: READ, Event.CANCEL: CANCEL, Event.DELETE: DELETE}


class CallAccess:
    """One per gateway. It does not check whether a call exists."""

    def __init__(self, may: May, audit: AuditLog = NO_AUDIT) -> None:
        self._may = may
        self._audit = audit

    def call(self, name: str, context: Context, event: Event, method: str) -> CallKey:
        """The call of that name, which the caller is about to read, cancel or delete.

        `method` is that of the RPC, PACKAGE.SERVICE/METHOD. Raises InvalidRequest,
        PermissionDenied, and BackendUnavailable where the audit log is required and broken.
        """
        call = call_of(name, context.principal.tenant)
        self._check(context, event, method, call.owner, call.id)
        return call

    def collection(
        self, name: str, context: Context, method: str, field: str = "name"
    ) -> str | None:
        """The tenant whose calls are to be listed; None: all tenants'. Raises as `call` does.

        `field` is the field of the request that has the name.
        """
        owner = owner_of_collection(name, context.principal.tenant, field)
        self._check(context, Event.READ, method, owner)
        return owner

    def reaches(self, context: Context, owner: str) -> bool:
        """Whether the caller may know of calls of that tenant."""
        return reaches_tenant(context.principal, self._may, owner)

    def _check(
        self, context: Context, event: Event, method: str, owner: str | None, call_id: str = ""
    ) -> None:
        principal = context.principal
        try:
            check_tenant(principal, self._may, owner)
        except PermissionDenied as error:
            self._audit.denied(
                *(context, error),
                path=method,
                permission=ANY_TENANT,
                event=event,
                owner=owner,
                call_id=call_id,
            )
            raise
        is_others = owner != principal.tenant
        if event is not Event.READ or is_others:
            self._audit.allowed(
                *(context, event),
                method=method,
                permission=ANY_TENANT if is_others else _PERMISSIONS[event],
                owner=owner,
                call_id=call_id,
            )

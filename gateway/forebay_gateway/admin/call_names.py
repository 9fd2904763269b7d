"""Names of operations. Pure.

`operations/ID` is a call of the caller's own tenant, `tenants/TENANT/operations/ID` a call of any
tenant. A call that was accepted while authentication was off has no tenant: callers with a tenant
name it `tenants//operations/ID`.
"""

from __future__ import annotations

from forebay.errors import FieldViolation, InvalidRequest
from forebay_backends.ledger.keys import CallKey

COLLECTION = "operations"
_TENANTS = "tenants"
_ALL_TENANTS = f"{_TENANTS}/-/{COLLECTION}"  # https://google.aip.dev/159


def name_of(call: CallKey, caller: str) -> str:
    """The name of the call's operation, for a caller whose tenant is `caller`."""
    name = f"{COLLECTION}/{call.id}"
    return name if call.owner == caller else f"{_TENANTS}/{call.owner}/{name}"


def call_of(name: str, caller: str) -> CallKey:
    """The call that an operation's name refers to; raises InvalidRequest if there can't be one."""
    match name.split("/"):
        case ["operations", call_id]:
            key = f"{caller}/{call_id}"
        case ["tenants", tenant, "operations", call_id]:
            key = f"{tenant}/{call_id}"
        case _:
            raise _no_operation(name)
    try:
        return CallKey.parse(key)
    except ValueError as error:
        raise _no_operation(name) from error


def owner_of_collection(name: str, caller: str, field: str = "name") -> str | None:
    """The tenant whose calls a name lists; None for all tenants. Raises InvalidRequest.

    The error names the `field` of the request.
    """
    if name in ("", COLLECTION):
        return caller
    if name == _ALL_TENANTS:
        return None
    match name.split("/"):
        case ["tenants", tenant, "operations"] if CallKey.is_owner(tenant):
            return tenant
    raise _invalid_name(
        f"is {name!r}; expected {COLLECTION!r}, '{_TENANTS}/TENANT/{COLLECTION}', "
        f"or {_ALL_TENANTS!r} for all tenants",
        field,
    )


def _no_operation(name: str) -> InvalidRequest:
    return _invalid_name(
        f"is {name!r}; expected {COLLECTION}/ID, or {_TENANTS}/TENANT/{COLLECTION}/ID"
    )


def _invalid_name(problem: str, field: str = "name") -> InvalidRequest:
    return InvalidRequest(f"{field} {problem}", violations=(FieldViolation(field, problem),))

"""The errors that a call can end with. All are `ForebayError`, in five families by who must act.

- `CallerError`: the caller must fix the request.
- `CapacityError`: the caller must send less, or retry later.
- `BackendError`: an operator must act; a retry may help.
- `Fault`: the author of the code that failed must fix it.
- `CallEnded`: nobody. The call was cancelled, or its time was up.

On the wire an error is a `google.rpc.Status` with one `ErrorInfo` (its reason, of
domain "forebay"), `BadRequest` for fields, `RetryInfo` where a retry may help
and `QuotaFailure` for quotas, as https://google.aip.dev/193 lays them out.
"""

from forebay.errors import reasons
from forebay.errors.forebay_error import FieldViolation, ForebayError
from forebay.errors.reasons import *  # noqa: F403

__all__ = ["FieldViolation", "ForebayError"]
__all__ += reasons.__all__

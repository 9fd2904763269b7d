"""The errors that a call can end with: subclasses of `ForebayError`, in five families.

The families say who must act:

- `CallerError`: the caller must fix the request.
- `CapacityError`: the caller must send less, or retry later.
- `BackendError`: an operator must act; a retry may help.
- `Fault`: the author of the code that failed must fix it.
- `CallEnded`: nobody must act; the call was cancelled, or its time was up.

`forebay.errors.status` converts errors to `google.rpc.Status` and back. As in
https://google.aip.dev/193, the details are one `ErrorInfo` (the reason, in the domain "forebay"),
`BadRequest` for fields, `RetryInfo` if a retry may help, and `QuotaFailure` for quotas.
"""

from forebay.errors import reasons
from forebay.errors.forebay_error import FieldViolation, ForebayError
from forebay.errors.reasons import *  # noqa: F403

__all__ = ["FieldViolation", "ForebayError"]
__all__ += reasons.__all__

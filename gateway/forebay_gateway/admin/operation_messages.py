"""A call as `google.longrunning` tells of it, and methods as `CallService` does. Pure.

Responses go out as the handler's bytes under their type's name: they are not parsed.
"""

from __future__ import annotations

from collections.abc import Mapping

from google.longrunning import operations_pb2
from google.protobuf import any_pb2, empty_pb2, wrappers_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from forebay.errors import FieldViolation, InvalidRequest
from forebay.errors.status import to_status
from forebay.routes import Method
from forebay.v1 import call_pb2, calls_pb2
from forebay_backends.ledger.keys import CallKey, is_call_id
from forebay_backends.ledger.operations.inspection import Description
from forebay_gateway.fleet.worker_problems import Consumers
from forebay_gateway.rpc.outcomes import error_of_ending

COLLECTION = "operations"
_TYPE_PREFIX = "type.googleapis.com/"


def name_of(call: CallKey) -> str:
    """The name of the call's operation."""
    return f"{COLLECTION}/{call.id}"


def call_of(name: str) -> CallKey:
    """The call of an operation's name; raises InvalidRequest for what is none."""
    collection, slash, call_id = name.partition("/")
    if collection != COLLECTION or not slash or not is_call_id(call_id):
        raise invalid_name(f"is {name!r}; expected {COLLECTION}/ID")
    return CallKey(call_id)


def invalid_name(problem: str) -> InvalidRequest:
    """The error for a name that is none of ours."""
    return InvalidRequest(f"name {problem}", violations=(FieldViolation("name", problem),))


def operation_of(
    call: CallKey, told: Description, methods: Mapping[str, Method]
) -> operations_pb2.Operation:
    """The call's operation; `methods` by their full names."""
    operation = operations_pb2.Operation(name=name_of(call), done=told.state.terminal)
    operation.metadata.Pack(metadata_of(told, methods))
    if told.ending is None:
        return operation
    method = methods.get(told.method)
    error = error_of_ending(told.ending, may_run_again=method is not None and method.may_run_again)
    if error is not None:
        operation.error.CopyFrom(to_status(error))
    elif told.count == 0:
        operation.response.Pack(empty_pb2.Empty())
    elif told.last_item is not None:
        operation.response.CopyFrom(response_of(told.method, told.last_item, methods))
    return operation


def metadata_of(told: Description, methods: Mapping[str, Method]) -> calls_pb2.CallMetadata:
    """What there is to say of a call besides its result."""
    metadata = calls_pb2.CallMetadata(
        method=told.method,
        state=call_pb2.CallState.Value(f"CALL_STATE_{told.state}"),
        reason=told.reason,
        queue=told.queue,
        worker=told.worker,
        attempt=told.attempt,
        create_time=_stamp(told.created_ms),
        queue_time=_stamp(told.queued_ms),
        begin_time=_stamp(told.begun_ms),
        finish_time=_stamp(told.finished_ms),
        deadline=_stamp(told.deadline_ms),
        read_time=_stamp(told.read_ms),
        item_count=told.count,
        item_bytes=told.sent,
    )
    if told.progress is not None:
        metadata.progress.CopyFrom(response_of(told.method, told.progress, methods))
    return metadata


def response_of(method: str, payload: bytes, methods: Mapping[str, Method]) -> any_pb2.Any:
    """A response message of the method, serialized, as Any."""
    known = methods.get(method)
    if known is None:
        wrapped = any_pb2.Any()
        wrapped.Pack(wrappers_pb2.BytesValue(value=payload))
        return wrapped
    return any_pb2.Any(
        type_url=_TYPE_PREFIX + known.response_class.DESCRIPTOR.full_name, value=payload
    )


def served_method(found: Consumers) -> calls_pb2.ServedMethod:
    """A method and its workers."""
    route = found.method.route
    return calls_pb2.ServedMethod(
        name=found.method.name,
        task=route.task,
        queue=route.queue,
        workers=found.workers,
        slots=found.slots,
        problems=[
            calls_pb2.MethodProblem(
                kind=calls_pb2.MethodProblemKind.Value(f"METHOD_PROBLEM_KIND_{problem.trouble}"),
                workers=problem.workers,
                description=problem.description,
                fix=problem.fix,
            )
            for problem in found.problems
        ],
    )


def _stamp(time_ms: int) -> Timestamp | None:
    if not time_ms:
        return None
    stamp = Timestamp()
    stamp.FromMilliseconds(time_ms)
    return stamp

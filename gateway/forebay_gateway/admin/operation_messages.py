"""Builds the messages of `google.longrunning.Operations` and `CallService`. Pure.

Responses are not parsed: an `Any` holds the handler's bytes and the name of their type.
"""

from __future__ import annotations

from collections.abc import Mapping

from google.longrunning import operations_pb2
from google.protobuf import any_pb2, empty_pb2, wrappers_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from forebay.errors.status import to_status
from forebay.routes import Method
from forebay.routes.operations import OperationTypes
from forebay.v1 import call_pb2, calls_pb2
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.inspection import Description
from forebay_gateway.admin.call_names import name_of
from forebay_gateway.admin.policy import policy
from forebay_gateway.fleet.worker_problems import Consumers
from forebay_gateway.identity.requirements import permission_of
from forebay_gateway.rpc.outcomes import error_of_ending

_TYPE_PREFIX = "type.googleapis.com/"


def operation_of(
    call: CallKey,
    caller: str,
    description: Description,
    methods: Mapping[str, Method],
    *,
    with_call_metadata: bool = False,
) -> operations_pb2.Operation:
    """The call's operation, for a caller of the tenant `caller`; `methods` are by full name.

    Its metadata is a CallMetadata if `with_call_metadata` or if the method declares no metadata.
    """
    name = name_of(call, caller)
    operation = operations_pb2.Operation(name=name, done=description.ending is not None)
    method = methods.get(description.method)
    if with_call_metadata or method is None or method.operation is None:
        operation.metadata.Pack(metadata_of(call, description, methods))
    elif description.operation_metadata is not None:
        latest = _metadata(method.operation, description.operation_metadata)
        operation.metadata.CopyFrom(latest)
    if description.ending is None:
        return operation
    error = error_of_ending(
        description.ending, may_run_again=method is not None and method.may_run_again
    )
    if error is not None:
        operation.error.CopyFrom(to_status(error))
    elif description.count == 0:
        operation.response.Pack(empty_pb2.Empty())
    elif description.last_item is not None:
        operation.response.CopyFrom(response_of(description.method, description.last_item, methods))
    return operation


def started_operation(
    call: CallKey, caller: str, types: OperationTypes
) -> operations_pb2.Operation:
    """The operation of a call that was accepted just now."""
    return operations_pb2.Operation(name=name_of(call, caller), metadata=_metadata(types, b""))


def metadata_of(
    call: CallKey, description: Description, methods: Mapping[str, Method]
) -> calls_pb2.CallMetadata:
    """The call's CallMetadata, which is the default metadata of its operation."""
    metadata = calls_pb2.CallMetadata(
        method=description.method,
        state=call_pb2.CallState.Value(f"CALL_STATE_{description.state or 'UNSPECIFIED'}"),
        reason=description.reason,
        queue=description.queue,
        worker=description.worker,
        attempt=description.attempt,
        create_time=_stamp(description.created_ms),
        start_time=_stamp(description.start_ms),
        queue_time=_stamp(description.queued_ms),
        begin_time=_stamp(description.begun_ms),
        finish_time=_stamp(description.finished_ms),
        deadline=_stamp(description.deadline_ms),
        read_time=_stamp(description.read_ms),
        item_count=description.count,
        item_bytes=description.sent,
        tenant=call.owner,
        request_count=description.request_count,
        request_bytes=description.request_bytes,
        priority=description.priority,
        subject=call_pb2.Caller.FromString(description.caller).subject,
        request_metadata=call_pb2.Metadata.FromString(description.metadata).entries,
        earlier_attempts=[
            calls_pb2.EarlierAttempt(
                attempt=earlier.attempt,
                worker=earlier.worker,
                begin_time=_stamp(earlier.begun_ms),
                lapse_time=_stamp(earlier.lapsed_ms),
            )
            for earlier in description.earlier
        ],
    )
    method = methods.get(description.method)
    types = None if method is None else method.operation
    if description.progress is not None:
        metadata.progress.CopyFrom(response_of(description.method, description.progress, methods))
    elif description.operation_metadata and description.ending is None and types is not None:
        metadata.progress.CopyFrom(_metadata(types, description.operation_metadata))
    return metadata


def response_of(method: str, payload: bytes, methods: Mapping[str, Method]) -> any_pb2.Any:
    """A serialized response as `Any`; a `BytesValue` in it if the gateway lacks the method."""
    served = methods.get(method)
    if served is None:
        wrapped = any_pb2.Any()
        wrapped.Pack(wrappers_pb2.BytesValue(value=payload))
        return wrapped
    return _packed(served.result_class, payload)


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
                kind=calls_pb2.MethodProblemKind.Value(f"METHOD_PROBLEM_KIND_{problem.kind}"),
                workers=problem.workers,
                description=problem.description,
                fix=problem.fix,
            )
            for problem in found.problems
        ],
        policy=policy(found.method),
        requires=permission_of(found.method),
    )


def _metadata(types: OperationTypes, payload: bytes) -> any_pb2.Any:
    return _packed(types.metadata_class, payload)


def _packed(message_class: type[Message], payload: bytes) -> any_pb2.Any:
    return any_pb2.Any(type_url=_TYPE_PREFIX + message_class.DESCRIPTOR.full_name, value=payload)


def _stamp(time_ms: int) -> Timestamp | None:
    if not time_ms:
        return None
    stamp = Timestamp()
    stamp.FromMilliseconds(time_ms)
    return stamp

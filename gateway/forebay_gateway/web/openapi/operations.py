"""Methods as operations of OpenAPI. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from forebay_gateway.web.codecs import JSON_TYPE
from forebay_gateway.web.openapi.comments import Comments
from forebay_gateway.web.openapi.errors import CONNECT_ERROR, STATUS, error_response
from forebay_gateway.web.openapi.paths import PathParameter
from forebay_gateway.web.openapi.schemas import Schemas
from forebay_gateway.web.openapi.well_known import STRING, Schema
from forebay_gateway.web.rest.bindings import Binding
from forebay_gateway.web.rest.field_paths import is_text, resolve

_MAX_NESTING = 4
"""How deep query parameters are listed; deeper fields can be given, but are not listed."""
_ONE_REQUEST = "The method takes a stream of requests by gRPC; here, the request is its only one."


class Operations:
    """Makes the operations of a document, whose schemas it collects."""

    def __init__(self, schemas: Schemas, comments: Comments) -> None:
        self._schemas = schemas
        self._comments = comments

    def of_binding(self, binding: Binding, path_parameters: Sequence[PathParameter]) -> Schema:
        """The operation of a binding, without its id."""
        parameters = [
            *(self._path_parameter(binding, one) for one in path_parameters),
            *self._query_parameters(binding),
        ]
        return {
            **self._about(binding.rpc),
            **({"parameters": parameters} if parameters else {}),
            **({"requestBody": self._body(binding)} if binding.body else {}),
            "responses": {
                "200": self._response(binding.rpc, binding.response_body),
                "default": error_response(STATUS),
            },
        }

    def of_rpc(self, rpc: MethodDescriptor) -> Schema:
        """The operation of a method's own path: Connect's, for one response."""
        error = STATUS if rpc.server_streaming else CONNECT_ERROR
        return {
            **self._about(rpc),
            "requestBody": _json_body(self._schemas.of_message(rpc.input_type)),
            "responses": {"200": self._response(rpc, ""), "default": error_response(error)},
        }

    def of_events(self, rpc: MethodDescriptor, *, may_get: bool, is_resumable: bool) -> Schema:
        """The operation that makes server-sent events of a stream."""
        message = {
            "name": "message",
            "in": "query",
            "description": "The request. May be left out with the `call_id` of a known call.",
            "content": {JSON_TYPE: {"schema": self._schemas.of_message(rpc.input_type)}},
        }
        ids = [
            _query("call_id", "The call's id, by which it can be resumed.", required=not may_get),
            _query("last_event_id", "As `Last-Event-ID`, for a page that was loaded again."),
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "The id of the last event that the caller has.",
                "schema": STRING,
            },
        ]
        return {
            **self._about(rpc),
            "parameters": [*([message] if may_get else []), *(ids if is_resumable else [])],
            "responses": {
                "200": {"description": "The responses.", "content": _events()},
                "204": {"description": "The caller has all events of the call."},
                "default": error_response(STATUS),
            },
        }

    def _about(self, rpc: MethodDescriptor) -> Schema:
        comment = self._comments.get(rpc.full_name, "")
        summary = first_sentence(comment)
        notes = [comment, _ONE_REQUEST if rpc.client_streaming else ""]
        description = "\n\n".join(note for note in notes if note)
        return {
            "tags": [rpc.containing_service.full_name],
            **({"summary": summary} if summary else {}),
            **({"description": description} if description else {}),
            **({"deprecated": True} if rpc.GetOptions().deprecated else {}),
        }

    def _path_parameter(self, binding: Binding, parameter: PathParameter) -> Schema:
        template = binding.template.text
        schema: Schema = STRING
        description = f"A segment of the path {template}."
        if parameter.is_whole:
            field = resolve(binding.rpc.input_type, parameter.field_path)[-1]
            schema = self._schemas.of_element(field)
            description = self._comments.get(field.full_name, "")
        elif parameter.field_path:
            description = f"A part of `{'.'.join(parameter.field_path)}` in the path {template}."
        if parameter.takes_rest:
            description = f"{description} May be several segments, with `/` between them.".strip()
        return {
            "name": parameter.name,
            "in": "path",
            "required": True,
            **({"description": description} if description else {}),
            "schema": schema,
        }

    def _query_parameters(self, binding: Binding) -> Iterator[Schema]:
        if binding.body == "*":
            return
        taken = {*binding.path_fields, (binding.body,)}
        for fields in _leaves(binding.rpc.input_type, ()):
            names = tuple(field.name for field in fields)
            if any(names[:count] in taken for count in range(1, len(names) + 1)):
                continue
            field = fields[-1]
            schema = {
                key: value
                for key, value in self._schemas.of_field(field).items()
                if key not in ("description", "deprecated")
            }
            comment = self._comments.get(field.full_name, "")
            yield {
                "name": ".".join(one.json_name for one in fields),
                "in": "query",
                **({"description": comment} if comment else {}),
                **({"deprecated": True} if field.GetOptions().deprecated else {}),
                "schema": schema,
            }

    def _body(self, binding: Binding) -> Schema:
        request = binding.rpc.input_type
        if binding.body == "*":
            return _json_body(self._schemas.of_message(request))
        return _json_body(self._schemas.of_field(request.fields_by_name[binding.body]))

    def _response(self, rpc: MethodDescriptor, response_body: str) -> Schema:
        schema = self._schemas.of_message(rpc.output_type)
        comment = self._comments.get(rpc.output_type.full_name, "")
        if response_body:
            field = rpc.output_type.fields_by_name[response_body]
            schema = self._schemas.of_field(field)
            comment = self._comments.get(field.full_name, "")
        if not rpc.server_streaming:
            return {
                "description": comment or "The response.",
                "content": {JSON_TYPE: {"schema": schema}},
            }
        status = {"$ref": f"#/components/schemas/{STATUS}"}
        line = {
            "type": "object",
            "description": "One line: a response, or the error that ended the stream.",
            "properties": {"result": schema, "error": status},
        }
        return {
            "description": "A stream of responses.",
            "content": {"application/x-ndjson": {"schema": line}, **_events()},
        }


def first_sentence(comment: str) -> str:
    """The first sentence of a comment, on one line and without the full stop."""
    paragraph = " ".join(comment.partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".")


def _leaves(
    message: Descriptor, above: tuple[FieldDescriptor, ...]
) -> Iterator[tuple[FieldDescriptor, ...]]:
    """The fields that a query parameter can set."""
    inside = {message, *(field.containing_type for field in above)}
    for field in message.fields:
        fields, inner = (*above, field), field.message_type
        if is_text(field):
            yield fields
        elif (
            inner is not None
            and not field.is_repeated
            and len(fields) <= _MAX_NESTING
            and inner not in inside
            and not inner.full_name.startswith("google.protobuf.")
        ):
            yield from _leaves(inner, fields)


def _json_body(schema: Schema) -> Schema:
    return {"required": True, "content": {JSON_TYPE: {"schema": schema}}}


def _query(name: str, description: str, *, required: bool = False) -> Schema:
    parameter: dict[str, Any] = {"name": name, "in": "query", "description": description}
    return {**parameter, **({"required": True} if required else {}), "schema": STRING}


def _events() -> Schema:
    return {
        "text/event-stream": {
            "schema": {
                "type": "string",
                "description": "Each event's data is one response in JSON.",
            }
        }
    }

"""The schemas of errors. Pure."""

from __future__ import annotations

from forebay_gateway.web.codecs import JSON_TYPE
from forebay_gateway.web.connect.errors import HTTP_STATUS, code_name
from forebay_gateway.web.openapi.well_known import WELL_KNOWN, Schema

STATUS, CONNECT_ERROR = "google.rpc.Status", "connect.Error"

_CODES = ", ".join(f"{code.value[0]} {code.name}" for code in HTTP_STATUS)

ERROR_SCHEMAS: dict[str, Schema] = {
    STATUS: {
        "type": "object",
        "description": "Why a call has failed.",
        "properties": {
            "code": {"type": "integer", "format": "int32", "description": f"One of {_CODES}."},
            "message": {"type": "string"},
            "details": {
                "type": "array",
                "description": "Such as `google.rpc.ErrorInfo`, whose `reason` is for programs.",
                "items": WELL_KNOWN["google.protobuf.Any"],
            },
        },
        "required": ["code"],
    },
    CONNECT_ERROR: {
        "type": "object",
        "description": "Why a call has failed, as Connect writes it.",
        "properties": {
            "code": {"type": "string", "enum": [code_name(code) for code in HTTP_STATUS]},
            "message": {"type": "string"},
            "details": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "type": {"type": "string", "description": "The name of a message"},
                        "value": {"type": "string", "description": "The message, in base64"},
                    },
                    "required": ["type", "value"],
                },
            },
        },
        "required": ["code"],
    },
}


def error_response(schema: str) -> Schema:
    """The response of an operation that fails."""
    return {
        "description": "An error. `Retry-After` says when a retry may help.",
        "content": {JSON_TYPE: {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }

"""The schemas of `google.protobuf`'s messages whose JSON is special. Pure.

https://protobuf.dev/programming-guides/json/
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

NUMBER: Schema = {
    "anyOf": [
        {"type": "number", "format": "double"},
        {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]},
    ]
}
FLOAT: Schema = {"anyOf": [{"type": "number", "format": "float"}, NUMBER["anyOf"][1]]}
BYTES: Schema = {"type": "string", "contentEncoding": "base64"}
INT32: Schema = {"type": "integer", "format": "int32"}
UINT32: Schema = {"type": "integer", "format": "uint32", "minimum": 0}
INT64: Schema = {"type": "string", "format": "int64"}
UINT64: Schema = {"type": "string", "format": "uint64"}
STRING: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}

WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Any": {
        "type": "object",
        "description": "A message of any type, with its fields, or with `value` if its own JSON is "
        "not an object.",
        "properties": {"@type": {"type": "string", "description": "A URL that ends with its type"}},
        "required": ["@type"],
        "additionalProperties": True,
    },
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {
        "type": "string",
        "description": 'Seconds, with an "s": `1.5s`.',
        "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$",
    },
    "google.protobuf.FieldMask": {
        "type": "string",
        "description": "Paths of fields, with commas between them.",
    },
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True},
    "google.protobuf.Value": {"description": "Any JSON value."},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.NullValue": {"type": "null"},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.DoubleValue": NUMBER,
    "google.protobuf.FloatValue": FLOAT,
    "google.protobuf.Int64Value": INT64,
    "google.protobuf.UInt64Value": UINT64,
    "google.protobuf.Int32Value": INT32,
    "google.protobuf.UInt32Value": UINT32,
    "google.protobuf.BoolValue": BOOLEAN,
    "google.protobuf.StringValue": STRING,
    "google.protobuf.BytesValue": BYTES,
}

// Reads the messages of a method from a FileDescriptorSet in JSON. Pure.

const SCALARS = {
  ...{ TYPE_DOUBLE: "number", TYPE_FLOAT: "number", TYPE_INT32: "number", TYPE_UINT32: "number" },
  ...{ TYPE_SINT32: "number", TYPE_FIXED32: "number", TYPE_SFIXED32: "number" },
  ...{ TYPE_INT64: "text", TYPE_UINT64: "text", TYPE_SINT64: "text", TYPE_FIXED64: "text" },
  ...{ TYPE_SFIXED64: "text", TYPE_STRING: "text", TYPE_BYTES: "text", TYPE_BOOL: "bool" },
};

/** Messages that JSON writes in a form of their own, with an example of it. */
const WELL_KNOWN = {
  ".google.protobuf.Timestamp": { kind: "text", hint: "2026-01-31T14:05:09Z" },
  ".google.protobuf.Duration": { kind: "text", hint: "1.5s" },
  ".google.protobuf.FieldMask": { kind: "text", hint: "first,second.part" },
  ".google.protobuf.StringValue": { kind: "text", hint: "text" },
  ".google.protobuf.BytesValue": { kind: "text", hint: "base64" },
  ".google.protobuf.Int64Value": { kind: "text", hint: "number" },
  ".google.protobuf.UInt64Value": { kind: "text", hint: "number" },
  ".google.protobuf.Int32Value": { kind: "number", hint: "number" },
  ".google.protobuf.UInt32Value": { kind: "number", hint: "number" },
  ".google.protobuf.DoubleValue": { kind: "number", hint: "number" },
  ".google.protobuf.FloatValue": { kind: "number", hint: "number" },
  ".google.protobuf.BoolValue": { kind: "bool", hint: "" },
  ".google.protobuf.Struct": { kind: "json", hint: "{}" },
  ".google.protobuf.Value": { kind: "json", hint: "null" },
  ".google.protobuf.ListValue": { kind: "json", hint: "[]" },
  ".google.protobuf.Any": { kind: "json", hint: '{"@type": "type.googleapis.com/…"}' },
};

/** All messages and enums of the set, by their full names with a dot before them. */
export function readTypes(files) {
  const messages = new Map();
  const enums = new Map();
  const readEnum = (one, scope) =>
    enums.set(
      `${scope}.${one.name}`,
      (one.value ?? []).map((v) => v.name),
    );
  const readMessage = (one, scope) => {
    const name = `${scope}.${one.name}`;
    messages.set(name, one);
    (one.nestedType ?? []).forEach((inner) => readMessage(inner, name));
    (one.enumType ?? []).forEach((inner) => readEnum(inner, name));
  };
  for (const file of files) {
    const scope = file.package ? `.${file.package}` : "";
    (file.messageType ?? []).forEach((one) => readMessage(one, scope));
    (file.enumType ?? []).forEach((one) => readEnum(one, scope));
  }
  return { messages, enums };
}

/**
 * The fields of a message for a form: `name` as in JSON, `kind` (text, number, bool, enum, json,
 * message), `hint`, `options` of an enum, `type` of a message, whether it is `repeated`, the `map`'s
 * key and value, and the `oneof` that it is part of.
 */
export function fieldsOf(types, typeName) {
  const message = types.messages.get(typeName);
  return (message?.field ?? []).map((field) => fieldOf(types, message, field));
}

function fieldOf(types, message, field) {
  const name = field.jsonName ?? camel(field.name);
  const isRepeated = field.label === "LABEL_REPEATED";
  const entry = types.messages.get(field.typeName);
  if (isRepeated && entry?.options?.mapEntry) {
    const [key, value] = entry.field.map((one) => ({ name: one.name, ...kindOf(types, one) }));
    return { name, protoName: field.name, kind: "map", hint: "", key, value };
  }
  // `optional` of proto3 is a oneof of one field, which is no choice.
  const isChoice = field.oneofIndex !== undefined && !field.proto3Optional;
  return {
    ...{ name, protoName: field.name, isRepeated },
    ...{ oneof: isChoice ? message.oneofDecl[field.oneofIndex].name : undefined },
    ...kindOf(types, field),
  };
}

function kindOf(types, field) {
  if (field.type === "TYPE_ENUM") {
    return { kind: "enum", hint: "", options: types.enums.get(field.typeName) ?? [] };
  }
  if (field.type === "TYPE_MESSAGE" || field.type === "TYPE_GROUP") {
    return WELL_KNOWN[field.typeName] ?? { kind: "message", hint: "", type: field.typeName };
  }
  const hint = field.type === "TYPE_BYTES" ? "base64" : field.type.slice(5).toLowerCase();
  return { kind: SCALARS[field.type], hint };
}

/** The name of a field in JSON, as protobuf makes it. */
const camel = (name) => name.replace(/_+(.)?/g, (_, next) => (next ?? "").toUpperCase());

// The same call from a shell, and from Python. Pure.

/**
 * `call` has path, files, request, requestType, seconds, callId, clientStreaming, serverStreaming;
 * `server` has address, isSecure, knowsCallers.
 */
export function grpcurl(call, server) {
  const words = ["grpcurl"];
  if (!server.isSecure) words.push("-plaintext");
  words.push("-max-time", String(call.seconds));
  if (server.knowsCallers) words.push("-H", '"authorization: Bearer $TOKEN"');
  if (call.callId) words.push("-H", shell(`forebay-call-id: ${call.callId}`));
  words.push("-d", shell(JSON.stringify(call.request)), server.address, call.path);
  return words.join(" ");
}

export function python(call, server) {
  const file = call.files.at(-1);
  const [modulePath, module] = moduleOf(file.name);
  const request = call.files.find((one) => declares(one, call.requestType));
  const [requestPath, requestModule] = moduleOf(request.name);
  const className = call.requestType.slice(request.package ? request.package.length + 1 : 0);
  const [service, method] = call.path.split("/");
  const metadata = [
    ...(call.callId ? [`("forebay-call-id", ${literal(call.callId)})`] : []),
    ...(server.knowsCallers ? ['("authorization", f"Bearer {token}")'] : []),
  ];
  const given = metadata.length ? `, metadata=[${metadata.join(", ")}]` : "";
  const dial = server.isSecure
    ? `grpc.secure_channel(${literal(server.address)}, grpc.ssl_channel_credentials())`
    : `grpc.insecure_channel(${literal(server.address)})`;
  const argument = call.clientStreaming ? "iter([request])" : "request";
  const invoke = `stub.${method}(${argument}, timeout=${call.seconds}${given})`;
  return [
    ...(server.knowsCallers ? ["import os", ""] : []),
    "import grpc",
    "from google.protobuf import json_format",
    "",
    `from ${requestPath} import ${requestModule}`,
    `from ${modulePath} import ${module}_grpc`,
    "",
    ...(server.knowsCallers ? ['token = os.environ["TOKEN"]'] : []),
    `request = json_format.Parse(${literal(JSON.stringify(call.request))}, ${requestModule}.${className}())`,
    `with ${dial} as channel:`,
    `    stub = ${module}_grpc.${service.split(".").at(-1)}Stub(channel)`,
    ...(call.serverStreaming
      ? [`    for response in ${invoke}:`, "        print(response)"]
      : [`    print(${invoke})`]),
    "",
  ].join("\n");
}

/** A word of a POSIX shell. */
const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** A literal of Python: JSON's escapes in a string are all Python's, too. */
const literal = (text) => JSON.stringify(text);

/** The package and the module that protoc makes of a file; without a folder, the module is on top. */
function moduleOf(fileName) {
  const parts = fileName
    .replace(/\.proto$/, "")
    .replaceAll("-", "_")
    .split("/");
  return [parts.slice(0, -1).join(".") || ".", `${parts.at(-1)}_pb2`];
}

function declares(file, type) {
  const prefix = file.package ? `${file.package}.` : "";
  const [first] = type.slice(prefix.length).split(".");
  return type.startsWith(prefix) && (file.messageType ?? []).some((one) => one.name === first);
}

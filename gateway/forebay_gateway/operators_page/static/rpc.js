// Connect over fetch: https://connectrpc.com/docs/protocol/. JSON only.
import { signal } from "./vendor/signals.js";

/** In this page's memory alone: it is gone with the tab, and no other page can read it. */
export const token = signal("");

const CALLS = "forebay.v1.CallService";
const OPERATIONS = "google.longrunning.Operations";
const END_OF_STREAM = 2;
const PREFIX_BYTES = 5;

/** Codes that another try would get again, until something else changes. */
const PERMANENT = [
  "invalid_argument",
  "not_found",
  "unimplemented",
  "permission_denied",
  "unauthenticated",
];

/** What an RPC ended with: Connect's name of the code, the message, and the details. */
export class RpcError extends Error {
  constructor({ code = "unknown", message = "", details = [] }, callId = "") {
    super(message);
    this.code = code;
    this.details = details;
    this.callId = callId;
  }

  get isPermanent() {
    return PERMANENT.includes(this.code);
  }
}

/** A unary RPC. `method` is "package.Service/Method", relative to the page, so a path prefix stays. */
export async function unary(method, request, { signal, headers } = {}) {
  const response = await post(method, "application/json", JSON.stringify(request), signal, headers);
  const body = await response.text();
  if (!response.ok) throw refused(response, body);
  return body ? JSON.parse(body) : {};
}

/** A stream of responses. `onHead` gets the headers of the response. */
export async function* stream(method, request, { signal, headers, onHead } = {}) {
  const message = new TextEncoder().encode(JSON.stringify(request));
  const framed = new Uint8Array(PREFIX_BYTES + message.length);
  new DataView(framed.buffer).setUint32(1, message.length);
  framed.set(message, PREFIX_BYTES);
  const response = await post(method, "application/connect+json", framed, signal, headers);
  if (!response.ok) throw refused(response, await response.text());
  onHead?.(response.headers);
  const decoder = new TextDecoder();
  for await (const [flags, payload] of frames(response.body)) {
    const json = JSON.parse(decoder.decode(payload) || "{}");
    if (!(flags & END_OF_STREAM)) {
      yield json;
    } else if (json.error) {
      throw new RpcError(json.error, response.headers.get("forebay-call-id") ?? "");
    }
  }
}

async function post(method, type, body, signal, headers = {}) {
  const all = { ...headers, "content-type": type, "connect-protocol-version": "1" };
  if (token.value) all.authorization = `Bearer ${token.value}`;
  try {
    return await fetch(new URL(method, document.baseURI), {
      ...{ method: "POST", headers: all, body, signal },
      ...{ redirect: "error", cache: "no-store" },
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new RpcError({ code: "unavailable", message: "the gateway does not answer" });
  }
}

function refused(response, body) {
  const callId = response.headers.get("forebay-call-id") ?? "";
  try {
    return new RpcError(JSON.parse(body), callId);
  } catch {
    const message = body.trim().slice(0, 500) || response.statusText;
    return new RpcError({ code: `HTTP ${response.status}`, message }, callId);
  }
}

async function* frames(body) {
  const reader = body.getReader();
  let left = new Uint8Array();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      left = joined(left, value);
      for (;;) {
        if (left.length < PREFIX_BYTES) break;
        const size = new DataView(left.buffer, left.byteOffset).getUint32(1);
        if (left.length < PREFIX_BYTES + size) break;
        yield [left[0], left.subarray(PREFIX_BYTES, PREFIX_BYTES + size)];
        left = left.subarray(PREFIX_BYTES + size);
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // a view that was left needs no more of it
  }
}

function joined(first, second) {
  if (!first.length) return second;
  const all = new Uint8Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}

export const calls = (name, request = {}, options = {}) =>
  unary(`${CALLS}/${name}`, request, options);
// Methods may declare the metadata of their operations; the page shows that of calls.
const OF_CALLS = { "forebay-operation-metadata": "call" };
export const operations = (name, request = {}, options = {}) =>
  unary(`${OPERATIONS}/${name}`, request, { ...options, headers: { ...options.headers, ...OF_CALLS } });
export const items = (request, options) => stream(`${CALLS}/ReadItems`, request, options);

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http2";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { createClient, createTransport, failureOf, items } from "../src/index.js";
import { repeatable, retryMayHelp, type TransportOptions } from "../src/index.js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../src/gen/google/rpc/error_details_pb.js";
import {
  ComputeService,
  type FactorialResponse,
  FactorialResponseSchema,
} from "../src/gen/forebay/compute/v1/compute_pb.js";
import { Operations } from "../src/gen/google/longrunning/operations_pb.js";
import { Replay } from "../src/replay.js";
import { COOLDOWN_MS, Rotation } from "../src/rotation.js";
import { routeOf } from "../src/routes.js";
import { isLoopback, readTargets } from "../src/targets.js";
import { withGrpcCode } from "../src/transport-errors.js";

/** A detail of an error as it comes from the wire. */
function detail<S extends DescMessage>(schema: S, value: MessageInitShape<S>) {
  return { type: schema.typeName, value: toBinary(schema, create(schema, value)) };
}

test("targets are read from text and arrays", () => {
  assert.deepEqual(readTargets("a:1, [::1]:2"), ["a:1", "[::1]:2"]);
  assert.deepEqual(readTargets(["a:1"]), ["a:1"]);
});

test("wrong targets are refused", () => {
  for (const wrong of ["", "a", "a:1,", "http://a:1", "a:1/x", "u@a:1", "a:99999", []]) {
    assert.throws(() => readTargets(wrong), { name: "TypeError", message: /expected HOST:PORT/ });
  }
});

test("loopback is known", () => {
  assert.deepEqual(
    ["localhost:1", "127.8.0.1:1", "[::1]:1", "127.0.0.1.example:1", "10.0.0.1:1"].map(isLoopback),
    [true, true, true, false, false],
  );
});

test("a token for another machine needs TLS", () => {
  assert.throws(() => createTransport({ targets: "gateway:1", token: "secret" }), {
    name: "TypeError",
    message: "a token for gateway:1 needs TLS, or others could read it: set `tls`",
  });
});

test("targets take turns, and one that failed is avoided for a while", () => {
  let now = 0;
  const rotation = new Rotation(3, () => now);
  assert.deepEqual([rotation.next(), rotation.next(), rotation.next()], [0, 1, 2]);
  rotation.failed(0);
  assert.deepEqual([rotation.next(), rotation.next()], [1, 1]);
  now += COOLDOWN_MS;
  assert.deepEqual([rotation.next(), rotation.next(2)], [2, 0]);
  assert.equal(new Rotation(1, () => 0).next(0), 0);
});

test("the error's details are read", () => {
  const wire = new ConnectError("no room", Code.ResourceExhausted);
  wire.details = [
    detail(ErrorInfoSchema, { reason: "QUEUE_FULL", domain: "forebay" }),
    detail(RetryInfoSchema, { retryDelay: { seconds: 2n, nanos: 500_000_000 } }),
    detail(BadRequestSchema, { fieldViolations: [{ field: "n", description: "is -1" }] }),
  ];
  const failure = failureOf(wire);
  assert.deepEqual(failure, {
    code: Code.ResourceExhausted,
    message: "no room",
    reason: "QUEUE_FULL",
    domain: "forebay",
    violations: [{ field: "n", description: "is -1" }],
    retryAfterMs: 2500,
    quota: "",
  });
  assert.equal(retryMayHelp(failure), true);
});

test("a connection that has gone is UNAVAILABLE, a gateway's own codes stay", () => {
  for (const code of [Code.Aborted, Code.Canceled]) {
    assert.equal(withGrpcCode(new ConnectError("it closed", code)).code, Code.Unavailable);
    const own = new ConnectError("you read nothing", code);
    own.details = [detail(ErrorInfoSchema, { reason: "CALLER_STALLED", domain: "forebay" })];
    assert.equal(withGrpcCode(own), own);
  }
});

test("anything that is thrown has a failure", () => {
  assert.equal(failureOf(new Error("x")).reason, "");
  assert.equal(failureOf("x").message, "x");
});

test("routes are read from descriptors, and from the option", () => {
  assert.equal(routeOf(ComputeService.method.add)?.isEphemeral, true);
  assert.equal(routeOf(ComputeService.method.matMul)?.streamsRequests, true);
  const method = Operations.method.getOperation;
  assert.equal(routeOf(method), undefined);
  const routes = { "google.longrunning.Operations.GetOperation": { ephemeral: true } };
  assert.equal(routeOf(method, routes)?.isEphemeral, true);
});

async function all<T>(source: AsyncIterable<T>, count = Infinity): Promise<T[]> {
  const read: T[] = [];
  for await (const one of source) {
    if (read.push(one) === count) {
      break;
    }
  }
  return read;
}

test("requests are read once, and replayed", async () => {
  let reads = 0;
  async function* source() {
    for (const one of [1, 2, 3]) {
      reads++;
      yield one;
    }
  }
  const replay = new Replay(source());
  assert.deepEqual(await all(replay.requests(), 2), [1, 2]);
  assert.deepEqual(await all(replay.requests()), [1, 2, 3]);
  assert.equal(reads, 3);
});

test("a request that a failed attempt waits for goes to the next attempt", async () => {
  let release = (_: number) => {};
  const waited = new Promise<number>((resolve) => (release = resolve));
  const replay = new Replay(
    (async function* () {
      yield await waited;
    })(),
  );
  const attempts = [all(replay.requests()), all(replay.requests())];
  release(7);
  assert.deepEqual(await Promise.all(attempts), [[7], [7]]);
});

test("repeatable requests are opened for each attempt", async () => {
  let opened = 0;
  const replay = new Replay(
    repeatable(() => {
      opened++;
      return [1, 2];
    }),
  );
  assert.deepEqual(await all(replay.requests()), [1, 2]);
  assert.deepEqual(await all(replay.requests()), [1, 2]);
  assert.equal(opened, 2);
});

test("an iterable that throws is remembered", async () => {
  async function* broken(): AsyncGenerator<number> {
    yield 1;
    throw new Error("no more");
  }
  for (const source of [broken(), repeatable(broken)]) {
    const replay = new Replay(source);
    await assert.rejects(all(replay.requests()), /no more/);
    assert.equal(replay.hasFailed, true);
  }
});

test("so is one that can't be opened", async () => {
  const missing = (): AsyncGenerator<number> => {
    throw new Error("no such file");
  };
  for (const source of [repeatable(missing), { [Symbol.asyncIterator]: missing }]) {
    const replay = new Replay(source);
    await assert.rejects(all(replay.requests()), /no such file/);
    assert.equal(replay.hasFailed, true);
  }
});

test("an iterator that has thrown is not closed", async () => {
  let closed = 0;
  const iterator: AsyncIterator<number> = {
    next: () => Promise.reject(new Error("no more")),
    return: () => Promise.resolve({ done: true, value: ++closed }),
  };
  const replay = new Replay({ ...repeatable<number>(() => []), [Symbol.asyncIterator]: () => iterator });
  await assert.rejects(all(replay.requests()), /no more/);
  assert.equal(closed, 0);
});

test("an attempt that is aborted is no failure of the caller's iterable, which is closed", async () => {
  let closed = 0;
  async function* source(): AsyncGenerator<number> {
    try {
      yield 1;
      yield 2;
    } finally {
      closed++;
    }
  }
  const replay = new Replay(repeatable(source));
  const attempt = replay.requests();
  assert.deepEqual(await attempt.next(), { done: false, value: 1 });
  await assert.rejects(attempt.throw(new Error("the connection broke")), /broke/);
  assert.equal(replay.hasFailed, false);
  assert.equal(closed, 1);
  assert.deepEqual(await all(replay.requests()), [1, 2]);
});

async function* responses(left: () => void): AsyncGenerator<FactorialResponse> {
  try {
    yield create(FactorialResponseSchema, { part: { case: "header", value: {} } });
    yield create(FactorialResponseSchema, { part: { case: "progress", value: {} } });
    yield create(FactorialResponseSchema, { part: { case: "digits", value: "1" } });
  } finally {
    left();
  }
}

test("items leaves out what is transient, which goes to the callback", async () => {
  const { factorial } = ComputeService.method;
  const seen: unknown[] = [];
  const onTransient = ({ part }: FactorialResponse) => seen.push(part.case);
  const ordinary = await all(items(factorial, responses(() => {}), onTransient));
  assert.deepEqual(ordinary.map(({ part }) => part.case), ["header", "digits"]);
  assert.deepEqual(seen, ["progress"]);
});

test("a callback that throws leaves the call", async () => {
  let isLeft = false;
  const fail = () => {
    throw new Error("enough");
  };
  const ordinary = items(ComputeService.method.factorial, responses(() => (isLeft = true)), fail);
  await assert.rejects(all(ordinary), /enough/);
  assert.equal(isLeft, true);
});

/** The headers of requests to a server that answers each with NOT_FOUND, and the error. */
async function called(options: Partial<TransportOptions>, headers = {}) {
  const requests: IncomingHttpHeaders[] = [];
  const server = createServer().listen(0, "127.0.0.1");
  server.on("stream", (stream, received) => {
    requests.push(received);
    const status = { "grpc-status": "5", "grpc-message": "nothing" };
    stream.respond({ "content-type": "application/grpc", ...status }, { endStream: true });
  });
  await once(server, "listening");
  const targets = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const transport = createTransport({ targets, ...options });
  const call = createClient(ComputeService, transport).add({ x: 1 }, { headers, timeoutMs: 5000 });
  const failure = await call.then(
    () => undefined,
    (error: unknown) => failureOf(error),
  );
  await transport.close();
  server.close();
  return { requests, failure };
}

test("each call has a token, unless its caller gave an authorization", async () => {
  for (const token of ["secret", () => "secret", async () => "secret"]) {
    const { requests, failure } = await called({ token });
    assert.deepEqual(requests.map(({ authorization }) => authorization), ["Bearer secret"]);
    assert.equal(failure?.code, Code.NotFound);
  }
  const { requests } = await called({ token: "secret" }, { authorization: "Bearer own" });
  assert.equal(requests[0]?.authorization, "Bearer own");
});

test("without a token there is no call, and the error does not show one", async () => {
  const fail = () => {
    throw new Error("the store is locked");
  };
  for (const token of [fail, () => "", () => "two\nlines"]) {
    const { requests, failure } = await called({ token });
    assert.equal(requests.length, 0);
    assert.equal(failure?.code, Code.Unauthenticated);
    assert.doesNotMatch(failure?.message ?? "", /lines|locked/);
  }
});

test("an interceptor of the caller's sees each attempt", async () => {
  const seen: string[] = [];
  await called({
    interceptors: [
      (next) => (request) => {
        seen.push(request.method.name);
        return next(request);
      },
    ],
  });
  assert.deepEqual(seen, ["Add"]);
});

test("what fails in the caller's own requests is not retried", async () => {
  async function* broken() {
    yield {};
    throw new Error("no more");
  }
  const server = createServer().listen(0, "127.0.0.1"); // it never answers
  server.on("stream", (stream) => stream.on("error", () => {}));
  server.on("session", (session) => session.on("error", () => {}));
  await once(server, "listening");
  const targets = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const retries: unknown[] = [];
  const transport = createTransport({ targets, onRetry: (event) => retries.push(event) });
  const client = createClient(ComputeService, transport);
  const options = { timeoutMs: 30_000 };
  await assert.rejects(all(client.factorial({ n: -1n }, options)), /serialize binary/);
  await assert.rejects(all(client.matMul(broken(), options)), /no more/);
  assert.deepEqual(retries, []);
  await transport.close();
  server.close();
});

// Calls as a test of pytest wants them: `node dist/test/driver.js WISH`, where WISH is JSON. Lines
// on standard input are JSON: {"request": …}, {"end": true}, {"fail": true}, {"cancel": true},
// {"close": true}. Lines on standard output: {"header": …}, {"response": …}, {"retry": …}, at last
// {"end": …}. If the method takes one request and the wish has none, each {"request"} is a call.
// The transport stays open until standard input ends: what a call leaves behind can be seen.

import { EventEmitter, once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import {
  createFileRegistry,
  type DescMethod,
  type DescMethodServerStreaming,
  fromBinary,
  fromJson,
  type JsonValue,
  type Message,
  toJson,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, type CallOptions } from "@connectrpc/connect";
import { createClient, createTransport, failureOf, items, repeatable } from "../src/index.js";

interface Wish {
  readonly targets: string[];
  /** A file with a FileDescriptorSet. */
  readonly descriptors: string;
  readonly service: string;
  readonly method: string;
  /** Of a method that takes one. */
  readonly request: JsonValue;
  readonly headers?: Record<string, string>;
  readonly timeoutMs?: number;
  readonly resume?: boolean;
  /** Leaves the loop after so many responses. */
  readonly leaveAfter?: number;
  /** Reads transient responses by a callback, which throws. */
  readonly throwOnTransient?: boolean;
  /** Aborts the signal when a further attempt is due. */
  readonly cancelOnRetry?: boolean;
  /** The requests of a stream are `repeatable`. */
  readonly repeatable?: boolean;
}

type Line = { request?: JsonValue; end?: true; fail?: true; cancel?: true; close?: true };

const wish = JSON.parse(process.argv[2] ?? "") as Wish;
const files = fromBinary(FileDescriptorSetSchema, readFileSync(wish.descriptors));
const service = createFileRegistry(files).getService(wish.service);
const method = service?.methods.find((one) => one.name === wish.method) as DescMethod;
const cancelled = new AbortController();
const transport = createTransport({
  targets: wish.targets,
  resume: wish.resume,
  onRetry: ({ target, failure }) => {
    print({ retry: { target, code: Code[failure.code] } });
    if (wish.cancelOnRetry) {
      cancelled.abort();
    }
  },
});

function print(line: Record<string, unknown>): void {
  console.log(JSON.stringify(line));
}

function request(json: JsonValue): Message {
  return fromJson(method.input, json);
}

/** Requests as they come in; the other lines act at once. */
class Input {
  readonly #lines: Line[] = [];
  readonly #arrivals = new EventEmitter();

  read(line: Line): void {
    if (line.cancel) {
      cancelled.abort();
    } else if (line.close) {
      void transport.close();
    } else {
      this.#lines.push(line);
      this.#arrivals.emit("line");
    }
  }

  /** From the first on. */
  async *requests(): AsyncGenerator<Message> {
    for (let index = 0; ; index++) {
      while (index === this.#lines.length) {
        await once(this.#arrivals, "line");
      }
      const line = this.#lines[index] as Line;
      if (line.fail) {
        throw new Error("no more");
      }
      if (line.end) {
        return;
      }
      yield request(line.request ?? {});
    }
  }
}

/** All calls; returns their trailers. */
async function calls(input: Input): Promise<Record<string, string>> {
  const takesOne = method.methodKind === "unary" || method.methodKind === "server_streaming";
  if (!takesOne) {
    return call(wish.repeatable ? repeatable(() => input.requests()) : input.requests());
  }
  if (wish.request !== null) {
    return call(request(wish.request));
  }
  const begun: Promise<Record<string, string>>[] = [];
  for await (const one of input.requests()) {
    begun.push(call(one));
  }
  return Object.assign({}, ...(await Promise.all(begun)));
}

async function call(input: Message | AsyncIterable<Message>): Promise<Record<string, string>> {
  const trailer: Record<string, string> = {};
  const options: CallOptions = {
    headers: wish.headers,
    timeoutMs: wish.timeoutMs,
    signal: cancelled.signal,
    onHeader: (header) => print({ header: Object.fromEntries(header) }),
    onTrailer: (header) => Object.assign(trailer, Object.fromEntries(header)),
  };
  const client = createClient(service as NonNullable<typeof service>, transport);
  const start = client[method.localName] as unknown as (
    input: Message | AsyncIterable<Message>,
    options: CallOptions,
  ) => AsyncIterable<Message> | Promise<Message>;
  const started = start(input, options);
  let count = 0;
  for await (const response of "then" in started ? [await started] : read(started)) {
    print({ response: toJson(method.output, response) });
    if (++count === wish.leaveAfter) {
      break;
    }
  }
  return trailer;
}

function read(responses: AsyncIterable<Message>): AsyncIterable<Message> {
  const onTransient = () => {
    throw new Error("enough");
  };
  const stream = method as DescMethodServerStreaming;
  return wish.throwOnTransient ? items(stream, responses, onTransient) : responses;
}

const input = new Input();
const lines = createInterface({ input: process.stdin });
const inputEnded = once(lines, "close");
lines.on("line", (line) => input.read(JSON.parse(line) as Line));
try {
  print({ end: { code: "Ok", trailer: await calls(input) } });
} catch (error) {
  const { code, reason, message } = failureOf(error);
  print({ end: { code: Code[code], reason, message } });
} finally {
  await inputEnded;
  await transport.close();
}

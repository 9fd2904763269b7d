// One call, as a test of pytest wants it: `node dist/test/driver.js WISH`, where WISH is JSON. Lines
// on standard input are JSON: {"request": …}, {"end": true}, {"cancel": true}, {"close": true}.
// Lines on standard output: {"header": …}, {"response": …}, {"retry": …}, at last {"end": …}.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import {
  createFileRegistry,
  type DescMethod,
  fromBinary,
  fromJson,
  type JsonValue,
  type Message,
  toJson,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, type CallOptions } from "@connectrpc/connect";
import { createClient, createTransport, failureOf } from "../src/index.js";

interface Wish {
  readonly targets: string[];
  /** A file with a FileDescriptorSet. */
  readonly descriptors: string;
  readonly service: string;
  readonly method: string;
  /** Of a method that takes one. */
  readonly request?: JsonValue;
  readonly headers?: Record<string, string>;
  readonly timeoutMs?: number;
  readonly resume?: boolean;
  /** Leaves the loop after so many responses. */
  readonly leaveAfter?: number;
}

type Line = { request?: JsonValue; end?: true; cancel?: true; close?: true };

const wish = JSON.parse(process.argv[2] ?? "") as Wish;
const files = fromBinary(FileDescriptorSetSchema, readFileSync(wish.descriptors));
const service = createFileRegistry(files).getService(wish.service);
const method = service?.methods.find((one) => one.name === wish.method) as DescMethod;
const cancelled = new AbortController();
const transport = createTransport({
  targets: wish.targets,
  resume: wish.resume,
  onRetry: ({ target, failure }) => print({ retry: { target, code: Code[failure.code] } }),
});

function print(line: Record<string, unknown>): void {
  console.log(JSON.stringify(line));
}

function request(json: JsonValue): Message {
  return fromJson(method.input, json);
}

/** Requests as they come in; the other lines act at once. */
class Input {
  readonly #requests: (Message | undefined)[] = [];
  #wake = () => {};

  read(line: Line): void {
    if (line.cancel) {
      cancelled.abort();
    } else if (line.close) {
      void transport.close();
    } else {
      this.#requests.push(line.end ? undefined : request(line.request ?? {}));
      this.#wake();
    }
  }

  async *requests(): AsyncGenerator<Message> {
    for (;;) {
      while (this.#requests.length === 0) {
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
      const next = this.#requests.shift();
      if (next === undefined) {
        return;
      }
      yield next;
    }
  }
}

async function call(input: Input): Promise<Record<string, string>> {
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
  const isOne = method.methodKind === "unary" || method.methodKind === "server_streaming";
  const started = start(isOne ? request(wish.request ?? {}) : input.requests(), options);
  let count = 0;
  for await (const response of "then" in started ? [await started] : started) {
    print({ response: toJson(method.output, response) });
    if (++count === wish.leaveAfter) {
      break;
    }
  }
  return trailer;
}

const input = new Input();
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => input.read(JSON.parse(line) as Line));
try {
  print({ end: { code: "Ok", trailer: await call(input) } });
} catch (error) {
  const { code, reason, message } = failureOf(error);
  print({ end: { code: Code[code], reason, message } });
} finally {
  lines.close();
  process.stdin.destroy();
  await transport.close();
}

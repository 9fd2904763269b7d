// A program of somebody who has installed the package: `node consumer.js TARGETS`. It uses each of
// the package's exports, and prints what it gets from ComputeService.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import {
  createClient,
  createTransport,
  DOMAIN,
  type Failure,
  failureOf,
  type FieldViolation,
  type ForebayTransport,
  items,
  repeatable,
  type RetryEvent,
  retryMayHelp,
  type Routes,
  type Tls,
  type Token,
  type TransportOptions,
} from "forebay";
import {
  ComputeService,
  DataType,
  type FactorialResponse,
  type MatMulRequestSchema,
} from "forebay/gen/forebay/compute/v1/compute_pb.js";

const method = ComputeService.method.factorial;
const routes: Routes = { [`${ComputeService.typeName}.${method.name}`]: { transient: "progress" } };
const tls: Tls | undefined = undefined;
const token: Token = async () => "secret";
const retries: RetryEvent[] = [];
const options: TransportOptions = {
  targets: (process.argv[2] ?? "").split(","),
  tls,
  token,
  routes,
  resume: true,
  interceptors: [(next) => (request) => next(request)],
  onRetry: (event) => retries.push(event),
};
const transport: ForebayTransport = createTransport(options);
const client = createClient(ComputeService, transport);

async function digits(): Promise<string> {
  const stages = new Set<FactorialResponse["part"]["case"]>();
  const onProgress = ({ part }: FactorialResponse) => void stages.add(part.case);
  const read: string[] = [];
  for await (const { part } of items(method, client.factorial({ n: 30n }), onProgress, routes)) {
    if (part.case === "digits") {
      read.push(part.value);
    }
  }
  return read.join("");
}

/** The product of (1 2) and its transpose. */
async function product(): Promise<number | undefined> {
  const bytes = new Uint8Array(new Float64Array([1, 2]).buffer);
  const left = { dtype: DataType.FLOAT64, rows: 1n, cols: 2n };
  const right = { dtype: DataType.FLOAT64, rows: 2n, cols: 1n };
  const requests = repeatable(function* (): Generator<MessageInitShape<typeof MatMulRequestSchema>> {
    yield { part: { case: "operands", value: { left, right } } };
    yield { part: { case: "leftChunk", value: bytes } };
    yield { part: { case: "rightChunk", value: bytes } };
  });
  for await (const { part } of client.matMul(requests, { signal: AbortSignal.timeout(60_000) })) {
    if (part.case === "panel") {
      return new Float64Array(part.value.data.slice().buffer)[0];
    }
  }
  return undefined;
}

async function failure(): Promise<Failure | undefined> {
  try {
    for await (const _ of client.factorial({ n: 1_000_000_000n }));
    return undefined;
  } catch (error) {
    return failureOf(error);
  }
}

/** Is not called: the compiler must refuse each of its calls. */
export function wrong(): void {
  // @ts-expect-error: targets are text
  createTransport({ targets: 1 });
  // @ts-expect-error: x is a number
  void client.add({ x: "4" });
  // @ts-expect-error: a failure has no such field
  void failureOf("x").reasons;
}

try {
  const { sum } = await client.add({ x: 4, y: 6 }, { timeoutMs: 60_000 });
  const failed = await failure();
  const [wrong]: readonly FieldViolation[] = failed?.violations ?? [];
  console.log(
    JSON.stringify({
      sum,
      digits: await digits(),
      product: await product(),
      code: failed && Code[failed.code],
      isOurs: failed?.domain === DOMAIN,
      field: wrong?.field,
      retryMayHelp: failed && retryMayHelp(failed),
      retries: retries.map(({ target, delayMs }) => [target, delayMs]),
    }),
  );
} finally {
  await transport.close();
}

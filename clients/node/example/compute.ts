// Calls ComputeService: `node dist/example/compute.js TARGETS add|progress|error|deadline|cancel|factorial|matmul`.

import { createHash, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { Code } from "@connectrpc/connect";
import { createClient, createTransport, failureOf, items } from "forebay";
import {
  ComputeService,
  DataType,
  type MatMulRequestSchema,
} from "forebay/gen/forebay/compute/v1/compute_pb.js";
import type { MessageInitShape } from "@bufbuild/protobuf";

const [targets = "", step = ""] = process.argv.slice(2);

/** TLS, if the variables of `forebay` name the gateway's CA; with a certificate if there is one. */
function tls() {
  const [ca, cert, key] = ["CA", "CERT", "KEY"].map((name) => {
    const file = process.env[`FOREBAY_CLIENT__${name}`];
    return file ? readFileSync(file) : undefined;
  });
  return ca && { ca, cert, key };
}

const transport = createTransport({ targets, tls: tls() });
const client = createClient(ComputeService, transport);

const steps: Record<string, () => Promise<void>> = {
  async add() {
    const { sum } = await client.add({ x: 4, y: 6 }, { timeoutMs: 10_000 });
    console.log(sum);
  },

  // The call's progress, and its items.
  async progress() {
    const stages = new Set<string>();
    const responses = client.factorial({ n: 30n }, { timeoutMs: 60_000 });
    const onProgress = ({ part }: { part: { case?: string; value?: unknown } }) =>
      stages.add(String(part.case));
    for await (const { part } of items(ComputeService.method.factorial, responses, onProgress)) {
      console.log(part.case === "digits" ? part.value : part.case);
    }
    console.log(stages.size > 0 ? "with progress" : "without progress");
  },

  async error() {
    try {
      for await (const response of client.factorial({ n: 1_000_000_000n })) {
        console.log(response);
      }
    } catch (error) {
      const { code, reason, violations } = failureOf(error);
      const fields = violations.map(({ field, description }) => `${field} ${description}`);
      console.log(Code[code], reason, ...fields);
    }
  },

  // A deadline that passes before the work is done: the gateway stops the work.
  async deadline() {
    try {
      for await (const _ of client.factorial({ n: 9_000_000n }, { timeoutMs: 300 }));
    } catch (error) {
      console.log(Code[failureOf(error).code]);
    }
  },

  // Leaving the loop, or aborting a signal, cancels the call on the gateway.
  async cancel() {
    for await (const { part } of client.factorial({ n: 9_000_000n })) {
      console.log("cancelled at", part.case);
      break;
    }
  },

  // A longer call, which survives the loss of connections and gateways.
  async factorial() {
    const headers = { "forebay-call-id": randomUUID() };
    let digits = "";
    for await (const { part } of client.factorial({ n: 200_000n }, { headers, timeoutMs: 60_000 })) {
      digits += part.case === "digits" ? part.value : "";
    }
    const sha256 = createHash("sha256").update(digits).digest("hex");
    console.log(`${digits.length} digits, sha256 ${sha256}`);
  },

  // The caller's own matrices, (1 2) and its transpose, as chunks of bytes.
  async matmul() {
    const bytes = new Uint8Array(new Float64Array([1, 2]).buffer);
    async function* requests(): AsyncGenerator<MessageInitShape<typeof MatMulRequestSchema>> {
      const left = { dtype: DataType.FLOAT64, rows: 1n, cols: 2n };
      const right = { dtype: DataType.FLOAT64, rows: 2n, cols: 1n };
      yield { part: { case: "operands", value: { left, right } } };
      yield { part: { case: "leftChunk", value: bytes } };
      yield { part: { case: "rightChunk", value: bytes } };
    }
    for await (const { part } of client.matMul(requests(), { timeoutMs: 60_000 })) {
      if (part.case === "panel") {
        console.log(new Float64Array(part.value.data.slice().buffer)[0]);
      }
    }
  },
};

const run = steps[step];
if (run === undefined) {
  console.error(`usage: node dist/example/compute.js TARGETS ${Object.keys(steps).join("|")}`);
  process.exit(2);
}
try {
  await run();
} catch (error) {
  const { code, reason, message } = failureOf(error);
  console.error(Code[code], reason, message);
  process.exitCode = 1;
} finally {
  await transport.close(); // an open connection may keep the process from exiting
}

// Calls Forebay's ComputeService: `node dist/client.js HOST:PORT add|error|deadline|resume|factorial`.

import { createHash, randomUUID } from "node:crypto";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { ComputeService } from "./gen/forebay/compute/v1/compute_pb.js";
import { describe } from "./errors.js";
import { isItem, items } from "./resume.js";

const [address, step] = process.argv.slice(2);
const baseUrl = `http://${address}`;
const connection = new Http2SessionManager(baseUrl);
const transport = createGrpcTransport({ baseUrl, sessionManager: connection });
const client = createClient(ComputeService, transport);

const steps: Record<string, () => Promise<void>> = {
  async add() {
    const response = await client.add({ x: 4, y: 6 }, { timeoutMs: 10_000 });
    console.log(response.sum);
  },

  async error() {
    try {
      for await (const response of client.factorial({ n: 1_000_000_000n })) {
        console.log(response);
      }
    } catch (error) {
      console.log(describe(error));
    }
  },

  // A deadline that passes before the work is done: the gateway stops the work.
  async deadline() {
    try {
      for await (const _ of client.factorial({ n: 9_000_000n }, { timeoutMs: 300 }));
    } catch (error) {
      console.log(describe(error));
    }
  },

  // Breaks a call off after its first item, as a lost connection would, and goes on behind it.
  async resume() {
    const headers = { "forebay-call-id": randomUUID() };
    const leaving = new AbortController();
    for await (const response of client.factorial({ n: 30n }, { headers, signal: leaving.signal })) {
      if (isItem(response)) {
        console.log("first item:", response.part.case);
        leaving.abort(); // a break alone leaves the stream open
        break;
      }
    }
    const behindFirst = { headers: { ...headers, "forebay-resume-from": "1" } };
    for await (const response of client.factorial({ n: 30n }, behindFirst)) {
      if (response.part.case === "digits") {
        console.log("second item:", response.part.value);
      }
    }
  },

  // A longer call, which survives the loss of connections and gateways.
  async factorial() {
    const signal = AbortSignal.timeout(60_000); // all attempts together
    let digits = "";
    for await (const response of items(client, { n: 200_000n }, randomUUID(), signal)) {
      if (response.part.case === "digits") {
        digits += response.part.value;
      }
    }
    const sha256 = createHash("sha256").update(digits).digest("hex");
    console.log(`${digits.length} digits, sha256 ${sha256}`);
  },
};

const run = steps[step ?? ""];
if (address === undefined || run === undefined) {
  console.error(`usage: node dist/client.js HOST:PORT ${Object.keys(steps).join("|")}`);
  process.exit(2);
}
try {
  await run();
} finally {
  connection.abort(); // an open connection may keep the process from exiting
}

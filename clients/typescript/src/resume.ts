import { setTimeout } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import type {
  ComputeService,
  FactorialRequestSchema,
  FactorialResponse,
} from "./gen/forebay/compute/v1/compute_pb.js";
import { retryDelayMs } from "./errors.js";

const ATTEMPTS = 20;

/** Whether the response is a lasting item; progress, the route's transient field, is none. */
export function isItem(response: FactorialResponse): boolean {
  return response.part.case !== "progress";
}

/**
 * The items of the call with this id, each once and in order: after a failure it calls again with
 * the same id, and continues behind the items that it has.
 */
export async function* items(
  client: Client<typeof ComputeService>,
  request: MessageInitShape<typeof FactorialRequestSchema>,
  callId: string,
  signal: AbortSignal,
): AsyncGenerator<FactorialResponse> {
  let received = 0;
  for (let attempt = 1; ; attempt++) {
    const headers = { "forebay-call-id": callId, "forebay-resume-from": String(received) };
    try {
      for await (const response of client.factorial(request, { headers, signal })) {
        received += isItem(response) ? 1 : 0;
        yield response;
      }
      return;
    } catch (error) {
      const delayMs = retryDelayMs(error);
      if (delayMs === undefined || signal.aborted || attempt === ATTEMPTS) {
        throw error;
      }
      await setTimeout(delayMs, undefined, { signal });
    }
  }
}

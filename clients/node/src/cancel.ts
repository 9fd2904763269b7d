// Cancels calls by their ids, on any gateway.
//
// A gateway can't distinguish a caller that cancels from a connection that broke, so the call goes
// on for its linger. A caller that cancels therefore sends CancelOperation, too. That is best effort.

import { createClient } from "@connectrpc/connect";
import type { Connection } from "./connection.js";
import { Operations } from "./gen/google/longrunning/operations_pb.js";
import type { ResumePolicy } from "./policy.js";

const TIMEOUT_MS = 2_000;

export class CancelSender {
  readonly #sending = new Set<Promise<unknown>>();

  /** Sends the request in the background, if the call is one that ends without its caller. */
  send(call: ResumePolicy, connections: readonly Connection[]): void {
    if (!call.endsOnDisconnect) {
      return;
    }
    const target = call.cancelTarget();
    const connection = target === undefined ? undefined : connections[target];
    if (connection === undefined) {
      return;
    }
    const request = { name: `operations/${call.callId}` };
    const sending = createClient(Operations, connection.transport)
      .cancelOperation(request, { timeoutMs: TIMEOUT_MS })
      .catch(() => undefined)
      .finally(() => this.#sending.delete(sending));
    this.#sending.add(sending);
  }

  /** Resolves when all requests were sent, or have failed. */
  async sent(): Promise<void> {
    await Promise.all(this.#sending);
  }
}

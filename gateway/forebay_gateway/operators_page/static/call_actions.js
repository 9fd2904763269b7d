// Cancelling and deleting calls, one or many.
import { confirmed } from "./confirm.js";
import { idOf, isAre } from "./format.js";
import { operations } from "./rpc.js";

const AT_A_TIME = 6;

export const ACTIONS = {
  cancel: { rpc: "CancelOperation", verb: "Cancel", done: "cancelled", fits: (call) => !call.done },
  delete: { rpc: "DeleteOperation", verb: "Delete", done: "deleted", fits: (call) => call.done },
};

/**
 * Asks, and acts on those of the calls that the action fits. Returns undefined if the answer was no;
 * otherwise `failed`, the calls for which it failed with their errors, and the outcome in `words`.
 */
export async function act(kind, chosen) {
  const { rpc, verb, done, fits } = ACTIONS[kind];
  const calls = chosen.filter(fits);
  const left = chosen.length - calls.length;
  const which = calls.length === 1 ? `call ${idOf(calls[0].name)}` : isAre(calls.length, "call");
  const rest = left
    ? ` ${isAre(left, "selected call")} ${left === 1 ? "is" : "are"} left as it is.`
    : "";
  const warning = kind === "delete" ? " Whoever still reads their items gets DATA_LOSS." : "";
  if (!(await confirmed(`${verb} ${which}?${warning}${rest}`, `${verb} ${calls.length}`)))
    return undefined;
  const failed = [];
  const waiting = [...calls];
  const work = async () => {
    for (let call = waiting.shift(); call; call = waiting.shift()) {
      try {
        await operations(rpc, { name: call.name });
      } catch (error) {
        failed.push({ call, error });
      }
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  const words = `${isAre(calls.length - failed.length, "call")} ${done}`;
  return { failed, words: failed.length ? `${words}, ${failed.length} failed` : words };
}

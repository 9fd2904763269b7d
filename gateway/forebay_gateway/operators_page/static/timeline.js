// The events of a call and their times. Pure.
import { stateOf } from "./format.js";

/** Pairs of words and time, in order, from a CallMetadata in JSON. */
export function eventsOf(metadata) {
  const earlier = metadata.earlierAttempts ?? [];
  const latestHasBegun = metadata.beginTime !== earlier.at(-1)?.beginTime;
  const events = [
    ["Accepted", metadata.createTime],
    ["Queued, with all its requests", metadata.queueTime],
    ...earlier.flatMap(({ attempt, worker, beginTime, lapseTime }) => [
      [`Attempt ${attempt} began on ${worker}`, beginTime],
      [`Attempt ${attempt} lost its worker; queued again`, lapseTime],
    ]),
    [`Attempt ${metadata.attempt ?? 1} began`, latestHasBegun && metadata.beginTime],
    [`Ended: ${stateOf(metadata)}`, metadata.finishTime],
  ];
  return events.filter(([, at]) => at);
}

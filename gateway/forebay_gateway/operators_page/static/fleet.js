// Queues and workers: what waits, who consumes it, and what each worker runs.
import { count, duration, idOf, millis, rate, seconds, shortMethod, time } from "./format.js";
import { calls } from "./rpc.js";
import { linkTo, mayRead } from "./session.js";
import { Failure, Table, html, useLoaded } from "./ui.js";

const EVERY_MS = 2000;

export function FleetView() {
  const [queues] = useLoaded((signal) => calls("ListQueues", {}, { signal }), EVERY_MS);
  const [workers] = useLoaded((signal) => calls("ListWorkers", {}, { signal }), EVERY_MS);
  return html`
    <h1 tabindex="-1">Queues and workers</h1>
    <section aria-labelledby="queues">
      <h2 id="queues">Queues</h2>
      <${Failure} error=${queues.value.error} />
      ${queues.value.data && html`<${Queues} queues=${queues.value.data.queues ?? []} />`}
    </section>
    <section aria-labelledby="workers">
      <h2 id="workers">Workers</h2>
      <${Failure} error=${workers.value.error} />
      ${workers.value.data && html`<${Workers} ...${workers.value.data} />`}
    </section>
  `;
}

function Queues({ queues }) {
  const head = [
    ...[["Queue"], ["Depth", "number"], ["Waiting", "number"], ["Oldest wait", "number"]],
    ...[
      ["Expected wait", "number wide"],
      ["Begun a second", "number wide"],
      ["Workers", "number"],
    ],
    ...[
      ["Slots busy", "number"],
      ["Methods", "wide"],
    ],
  ];
  return html`<${Table} label="Queues" head=${head}>
    ${queues.map(
      (queue) =>
        html`<tr key=${queue.name}>
          <td>
            ${mayRead.value ? html`<a href=${linkTo("calls", { queue: queue.name })}>${queue.name}</a>` : queue.name}
          </td>
          <td class="number">${count(queue.depth)}</td>
          <td class="number">${count(queue.waitingCalls)}</td>
          <td class="number">${duration(seconds(queue.oldestWait))}</td>
          <td class="number wide">${duration(seconds(queue.expectedWait))}</td>
          <td class="number wide">${rate(queue.begunPerSecond ?? 0)}</td>
          <td class=${`number ${queue.consumers ? "" : "bad"}`}>${queue.consumers ?? 0}</td>
          <td class="number">${queue.busySlots ?? 0} of ${queue.slots ?? 0}</td>
          <td class="wide text">${(queue.methods ?? []).map(shortMethod).join(", ")}</td>
        </tr>`,
    )}
  <//>`;
}

function Workers({ workers = [], readTime }) {
  const head = [
    ...[
      ["Worker"],
      ["Queues"],
      ["Slots busy", "number"],
      ["Last seen", "number"],
      ["Pool", "wide"],
    ],
    ...[["Version", "wide"], ["Runs"]],
  ];
  return html`<${Table} label="Workers" head=${head} empty="no live worker">
    ${workers.map(
      (worker) =>
        html`<tr key=${worker.name}>
          <td class="text">${worker.name}</td>
          <td class="text">${(worker.queues ?? []).join(", ")}</td>
          <td class="number">${worker.busySlots ?? 0} of ${worker.slots ?? 0}</td>
          <td class="number" title=${time(worker.seenTime)}>
            ${since(worker.seenTime, readTime)} ago
          </td>
          <td class="wide">${worker.pool}</td>
          <td class="wide">${worker.version}</td>
          <td>
            ${(worker.running ?? []).map((one) => html`<${Running} one=${one} now=${readTime} />`)}
          </td>
        </tr>`,
    )}
  <//>`;
}

function Running({ one, now }) {
  return html`<div>
    ${one.method ? shortMethod(one.method) : one.task} for ${since(one.beginTime, now)}
    ${(one.calls ?? []).map((name) => html` <a class="id" href=${linkTo("call", { name })}>${idOf(name)}</a>`)}
  </div>`;
}

const since = (from, to) => duration((millis(to) - millis(from)) / 1000);

// The last hour at a glance, what is wrong, and which errors there were.
import { Chart } from "./chart.js";
import {
  CODES,
  count,
  duration,
  idOf,
  millis,
  rate,
  seconds,
  shortMethod,
  time,
} from "./format.js";
import { calls } from "./rpc.js";
import { collection, linkTo, mayRead, seesTenants } from "./session.js";
import { Failure, Table, html, useLoaded } from "./ui.js";

const EVERY_MS = 5000;
const STEP_S = 30;

export function OverviewView() {
  const [activity] = useLoaded(readActivity, EVERY_MS);
  const [problems] = useLoaded((signal) => calls("ListProblems", {}, { signal }), EVERY_MS * 2);
  const [errors] = useLoaded(readErrors, EVERY_MS * 2);
  return html`
    <h1 tabindex="-1">Overview</h1>
    <${Failure} error=${activity.value.error} />
    <${Problems} state=${problems.value} />
    ${activity.value.data && html`<${Activity} intervals=${activity.value.data.intervals ?? []} />`}
    <${Errors} state=${errors.value} />
  `;
}

const readActivity = (signal) =>
  calls("ReadActivity", { window: "3600s", step: `${STEP_S}s` }, { signal });

async function readErrors(signal) {
  if (!mayRead.value) return { errors: [] };
  return calls("ListErrors", { parent: collection.value }, { signal });
}

function Problems({ state: { data, error } }) {
  const problems = data?.problems ?? [];
  return html`<section aria-labelledby="problems">
    <h2 id="problems">Problems</h2>
    <${Failure} error=${error} />
    ${data && !problems.length && html`<p class="good">Nothing is known to be wrong.</p>`}
    ${
      problems.length > 0 &&
      html`<ul class="problems">
        ${problems.map(
          (one) =>
            html`<li>
              <b>${one.subject}</b>: ${one.description}
              <span class="fix">Fix: ${one.fix}</span>
            </li>`,
        )}
      </ul>`
    }
  </section>`;
}

function Activity({ intervals }) {
  const times = intervals.map((one) => millis(one.endTime) / 1000);
  const per = (field) => intervals.map((one) => Number(one.total?.[field] ?? 0) / lengthOf(one));
  const taken = (field) => intervals.map((one) => seconds(one.total?.[field]) ?? null);
  const sum = (field) => intervals.map((one) => total(one.queues, (q) => Number(q[field] ?? 0)));
  const waits = intervals.map((one) => longest(one.queues));
  const now = intervals.at(-1);
  const charts = [
    [
      "Calls a second",
      rate,
      [
        ["calls", "--blue", per("ended")],
        ["errors", "--red", per("failed")],
      ],
    ],
    [
      "Latency",
      duration,
      [
        ["p50", "--blue", taken("p50")],
        ["p99", "--amber", taken("p99")],
      ],
    ],
    ["Messages in queues", count, [["depth", "--blue", sum("depth")]]],
    ["Oldest wait", duration, [["wait", "--amber", waits]]],
    [
      "Slots",
      count,
      [
        ["busy", "--amber", sum("busySlots")],
        ["all", "--blue", sum("slots")],
      ],
    ],
  ];
  if (!now) return html`<p>The gateway has just started: there are no figures yet.</p>`;
  const busy = `${sum("busySlots").at(-1)} of ${sum("slots").at(-1)}`;
  return html`<section aria-labelledby="hour">
    <h2 id="hour">The last hour</h2>
    <dl class="tiles">
      <${Tile} name="Calls a second" value=${rate(per("ended").at(-1))} />
      <${Tile} name="Errors a second" value=${rate(per("failed").at(-1))} />
      <${Tile} name="p50" value=${duration(seconds(now.total?.p50))} />
      <${Tile} name="p99" value=${duration(seconds(now.total?.p99))} />
      <${Tile} name="Messages in queues" value=${count(sum("depth").at(-1))} />
      <${Tile} name="Oldest wait" value=${duration(waits.at(-1))} />
      <${Tile} name="Slots busy" value=${busy} />
    </dl>
    <div class="charts">
      ${charts.map(
        ([title, shown, lines]) =>
          html`<${Chart}
            key=${title}
            title=${title}
            times=${times}
            shown=${shown}
            series=${lines.map(([name, colour, values]) => ({ name, colour, values }))}
          />`,
      )}
    </div>
  </section>`;
}

const Tile = ({ name, value }) =>
  html`<div>
    <dt>${name}</dt>
    <dd>${value}</dd>
  </div>`;

function Errors({ state: { data, error } }) {
  const head = [
    ...[["Method"], ["Status"], ["Reason"], ...(seesTenants.value ? [["Tenant"]] : [])],
    ...[["Count", "number"], ["Last", "wide"], ["Message"], ["Calls"]],
  ];
  return html`<section aria-labelledby="errors">
    <h2 id="errors">Errors of the last hour</h2>
    <${Failure} error=${error} />
    ${
      data &&
      html`<${Table} label="Errors" head=${head} empty="no RPC ended with an error">
        ${(data.errors ?? []).map(
          (one) =>
            html`<tr key=${JSON.stringify([one.tenant, one.method, one.code, one.reason])}>
              <td title=${one.method}>${shortMethod(one.method)}</td>
              <td>${CODES[one.code] ?? one.code}</td>
              <td>${one.reason}</td>
              ${seesTenants.value && html`<td>${one.tenant}</td>`}
              <td class="number">${count(one.count)}</td>
              <td class="wide">${time(one.lastTime)}</td>
              <td class="text">${one.message}</td>
              <td>
                ${(one.calls ?? []).map(
                  (name) =>
                    html`<a class="id" href=${linkTo("call", { name })}
                      >${idOf(name).slice(-8)}</a
                    > `,
                )}
              </td>
            </tr>`,
        )}
      <//>`
    }
  </section>`;
}

const lengthOf = (one) => Math.max(1, (millis(one.endTime) - millis(one.startTime)) / 1000);
const total = (queues, of) => (queues ?? []).reduce((sum, queue) => sum + of(queue), 0);
const longest = (queues) =>
  Math.max(0, ...(queues ?? []).map((queue) => seconds(queue.oldestWait) ?? 0));

// The list of calls: newest first, paged and filtered by the server.
import { ACTIONS, act } from "./call_actions.js";
import { Confirmation } from "./confirm.js";
import { FIELDS, STATES, filterText } from "./filters.js";
import {
  bytes,
  count,
  duration,
  idOf,
  isAre,
  millis,
  shortMethod,
  stateOf,
  time,
} from "./format.js";
import { calls, operations } from "./rpc.js";
import { collection, linkTo, mayCancel, mayDelete, seesTenants } from "./session.js";
import { Failure, Table, announcement, html, useEffect, useLoaded, useSignal } from "./ui.js";

const PAGE_SIZE = 50;
const EVERY_MS = 2000;
// A page may be short although more calls follow: the server bounds the work for one.
const MOST_RPCS = 20;
const more = ", and more may match further on";

export function CallsView({ values }) {
  const turned = useSignal({ filter: "", tokens: [""] });
  const chosen = useSignal(new Map());
  const failures = useSignal([]);
  const filter = filterText(values);
  // The tokens of this page and those before it; they belong to one filter.
  const tokens = turned.value.filter === filter ? turned.value.tokens : [""];
  const token = tokens.at(-1);
  const key = JSON.stringify([filter, token, collection.value]);
  const [state, reload] = useLoaded(
    (signal) => readPage(filter, token, signal),
    token ? 0 : EVERY_MS,
    key,
  );
  const listed = state.value.data?.operations ?? [];
  const selected = listed.filter((call) => chosen.value.has(call.name));

  const choose = (names, isChosen) => {
    const next = new Map(chosen.value);
    for (const name of names) isChosen ? next.set(name, true) : next.delete(name);
    chosen.value = next;
  };
  const turn = (next) => {
    turned.value = { filter, tokens: next };
    chosen.value = new Map();
  };
  const run = async (kind) => {
    const outcome = await act(kind, selected);
    if (!outcome) return;
    failures.value = outcome.failed;
    chosen.value = new Map();
    await reload();
    announcement.value = outcome.words;
  };

  return html`
    <h1 tabindex="-1">Calls</h1>
    <${Filters} values=${values} />
    <${Failure} error=${state.value.error} />
    ${failures.value.map(
      ({ call, error }) =>
        html`<p class="failure" role="alert">
          ${idOf(call.name)}: <strong>${error.code}</strong> ${error.message}
        </p>`,
    )}
    <${Toolbar} selected=${selected} run=${run} />
    <${List}
      calls=${listed}
      isLoading=${!state.value.data && !state.value.error}
      chosen=${chosen.value}
      choose=${choose}
    />
    <nav class="paging" aria-label="Pages">
      <button type="button" disabled=${tokens.length === 1} onClick=${() => turn([""])}>
        Newest
      </button>
      <button
        type="button"
        disabled=${tokens.length === 1}
        onClick=${() => turn(tokens.slice(0, -1))}
      >
        Newer
      </button>
      <button
        type="button"
        disabled=${!state.value.data?.nextPageToken}
        onClick=${() => turn([...tokens, state.value.data.nextPageToken])}
      >
        Older
      </button>
      <span>${`Page ${tokens.length}${state.value.data?.isPartial ? more : ""}`}</span>
    </nav>
    <${Confirmation} />
  `;
}

async function readPage(filter, pageToken, signal) {
  const found = { operations: [], nextPageToken: pageToken, isPartial: false };
  for (let rpc = 0; rpc < MOST_RPCS; rpc += 1) {
    const request = {
      name: collection.value,
      filter,
      pageSize: PAGE_SIZE - found.operations.length,
    };
    if (found.nextPageToken) request.pageToken = found.nextPageToken;
    const page = await operations("ListOperations", request, { signal });
    found.operations.push(...(page.operations ?? []));
    found.nextPageToken = page.nextPageToken;
    if (!page.nextPageToken || found.operations.length >= PAGE_SIZE) return found;
  }
  return { ...found, isPartial: true };
}

function Filters({ values }) {
  const draft = useSignal(values);
  useEffect(() => {
    draft.value = values;
  }, [JSON.stringify(values)]);
  const [known] = useLoaded(async (signal) => {
    const listed = await calls("ListMethods", {}, { signal }).catch(() => ({}));
    return listed.methods ?? [];
  }, 0);
  const methods = known.value.data ?? [];
  const submit = (event) => {
    event.preventDefault();
    location.hash = linkTo(
      "calls",
      Object.fromEntries(FIELDS.map((field) => [field, draft.value[field]])),
    );
  };
  const bound = (field) => ({
    value: draft.value[field] ?? "",
    onInput: (event) => (draft.value = { ...draft.value, [field]: event.target.value }),
  });
  const text = (field, label, list) =>
    html`<label>${label}<input autocomplete="off" list=${list} ...${bound(field)} /></label>`;
  const moment = (field, label) =>
    html`<label>${label}<input type="datetime-local" step="1" ...${bound(field)} /></label>`;
  return html`<form class="filters" role="search" aria-label="Filter calls" onSubmit=${submit}>
    <label>
      State
      <select ...${bound("state")}>
        <option value="">any</option>
        <option value="ACTIVE">not ended</option>
        <option value="ENDED">ended</option>
        ${STATES.map((state) => html`<option value=${state}>${state}</option>`)}
      </select>
    </label>
    ${text("method", "Method", "methods")} ${text("queue", "Queue", "queues")}
    ${text("worker", "Worker")} ${text("reason", "Reason")}
    ${seesTenants.value && text("tenant", "Tenant")} ${text("id", "Id contains")}
    ${moment("since", "Since")} ${moment("until", "Until")}
    <datalist id="methods">${methods.map((one) => html`<option value=${one.name} />`)}</datalist>
    <datalist id="queues">
      ${[...new Set(methods.map((one) => one.queue))].map((queue) => html`<option value=${queue} />`)}
    </datalist>
    <button type="submit">Filter</button>
    <a href=${linkTo("calls")}>Clear</a>
  </form>`;
}

function Toolbar({ selected, run }) {
  if (!mayCancel.value && !mayDelete.value) return null;
  const button = (kind) => {
    const fitting = selected.filter(ACTIONS[kind].fits).length;
    return html`<button type="button" disabled=${!fitting} onClick=${() => run(kind)}>
      ${ACTIONS[kind].verb} ${fitting}
    </button>`;
  };
  return html`<div class="toolbar" role="group" aria-label="Selected calls">
    <span>${isAre(selected.length, "call")} selected</span>
    ${mayCancel.value && button("cancel")} ${mayDelete.value && button("delete")}
  </div>`;
}

function List({ calls: listed, isLoading, chosen, choose }) {
  const names = listed.map((call) => call.name);
  const selects = mayCancel.value || mayDelete.value;
  const all = html`<input
    type="checkbox"
    aria-label="Select all calls of this page"
    checked=${names.length > 0 && names.every((name) => chosen.has(name))}
    onChange=${(event) => choose(names, event.target.checked)}
  />`;
  const head = [
    ...(selects ? [[all]] : []),
    ...[["Id"], ["Method"], ["State"], ["Accepted", "wide"], ["Ran", "number"]],
    ...[
      ["Attempt", "number wide"],
      ["Items", "number wide"],
      ["Note", "wide"],
    ],
  ];
  return html`<${Table} label="Calls" head=${head} empty=${isLoading ? "loading" : "no calls"}>
    ${listed.map(
      (call) =>
        html`<${Row}
          key=${call.name}
          call=${call}
          selects=${selects}
          isChosen=${chosen.has(call.name)}
          choose=${choose}
        />`,
    )}
  <//>`;
}

function Row({ call, selects, isChosen, choose }) {
  const metadata = call.metadata ?? {};
  const state = stateOf(metadata);
  return html`<tr class=${isChosen ? "chosen" : ""}>
    ${
      selects &&
      html`<td>
        <input
          type="checkbox"
          aria-label=${`Select ${idOf(call.name)}`}
          checked=${isChosen}
          onChange=${(event) => choose([call.name], event.target.checked)}
        />
      </td>`
    }
    <td><a class="id" href=${linkTo("call", { name: call.name })}>${idOf(call.name)}</a></td>
    <td title=${metadata.method}>${shortMethod(metadata.method)}</td>
    <td><span class=${`state ${state}`}>${state}</span></td>
    <td class="wide">${time(metadata.createTime)}</td>
    <td class="number">${runTime(metadata)}</td>
    <td class="number wide">${metadata.attempt ?? ""}</td>
    <td class="number wide" title=${bytes(metadata.itemBytes)}>${count(metadata.itemCount)}</td>
    <td class="wide text">${note(call, metadata, state)}</td>
  </tr>`;
}

/** Celery's name of the worker: that of the process has an id at its end. */
const nodeOf = (worker) => worker.replace(/\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, "");

function runTime(metadata) {
  if (!metadata.beginTime || stateOf(metadata) === "QUEUED") return "–";
  const end = millis(metadata.finishTime) ?? millis(metadata.readTime);
  return duration((end - millis(metadata.beginTime)) / 1000);
}

function note(call, metadata, state) {
  if (call.error) return `${metadata.reason ?? ""} ${call.error.message ?? ""}`.trim();
  if (state === "QUEUED") return `in ${metadata.queue}`;
  return metadata.worker ? `on ${nodeOf(metadata.worker)}` : "";
}

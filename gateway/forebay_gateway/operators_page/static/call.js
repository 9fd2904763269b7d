// One call: its timeline, what the ledger knows of it, its items as they come, its error.
import { ACTIONS, act } from "./call_actions.js";
import { Confirmation } from "./confirm.js";
import {
  CODES,
  bytes,
  count,
  duration,
  idOf,
  json,
  millis,
  stateOf,
  time,
} from "./format.js";
import { items, operations } from "./rpc.js";
import { linkTo, mayCancel, mayDelete } from "./session.js";
import { eventsOf } from "./timeline.js";
import { Failure, announcement, html, useEffect, useLoaded, useSignal } from "./ui.js";

const EVERY_MS = 1000;
const MOST_ITEMS = 200;
const MOST_CHARACTERS = 4000;

export function CallView({ values: { name = "" } }) {
  const ended = useSignal(false);
  const problem = useSignal(undefined);
  const [state, reload] = useLoaded(
    (signal) => operations("GetOperation", { name }, { signal }),
    ended.value ? 0 : EVERY_MS,
    `${name} ${ended.value}`,
  );
  const call = state.value.data;
  useEffect(() => {
    if (call?.done) ended.value = true;
  }, [call?.done]);
  const run = async (kind) => {
    const outcome = await act(kind, [call]);
    if (!outcome) return;
    problem.value = outcome.failed[0]?.error;
    if (kind === "delete" && !outcome.failed.length) location.hash = linkTo("calls");
    else await reload();
    announcement.value = outcome.words;
  };
  return html`
    <h1 tabindex="-1">Call <span class="id">${idOf(name)}</span></h1>
    <${Failure} error=${state.value.error ?? problem.value} />
    ${
      call &&
      html`
        <${Actions} call=${call} run=${run} />
        <${Timeline} metadata=${call.metadata ?? {}} />
        ${call.error && html`<${CallError} error=${call.error} />`}
        <${Facts} call=${call} />
        ${call.metadata?.progress && !call.done && html`<${Part} title="Progress" value=${call.metadata.progress} />`}
        <${Items} key=${name} name=${name} expected=${Number(call.metadata?.itemCount ?? 0)} />
      `
    }
    <${Confirmation} />
  `;
}

function Actions({ call, run }) {
  const button = (kind) =>
    html`<button type="button" disabled=${!ACTIONS[kind].fits(call)} onClick=${() => run(kind)}>
      ${ACTIONS[kind].verb}
    </button>`;
  if (!mayCancel.value && !mayDelete.value) return null;
  return html`<div class="toolbar" role="group" aria-label="Actions">
    ${mayCancel.value && button("cancel")} ${mayDelete.value && button("delete")}
  </div>`;
}

function Timeline({ metadata }) {
  const events = eventsOf(metadata);
  const start = millis(metadata.createTime);
  const end = millis(metadata.finishTime) ?? millis(metadata.readTime);
  const begun = millis(metadata.beginTime) ?? end;
  return html`<section aria-labelledby="timeline">
    <h2 id="timeline">Timeline</h2>
    <p class="bar" aria-hidden="true">
      <i class="waited" style=${{ flexGrow: Math.max(begun - start, 0) }}></i>
      <i class="ran" style=${{ flexGrow: Math.max(end - begun, 0) }}></i>
    </p>
    <ol class="timeline">
      ${events.map(
        ([what, at]) =>
          html`<li>
            <span>${what}</span> <time datetime=${at}>${time(at)}</time>${" "}
            <span class="soft">+${duration((millis(at) - start) / 1000)}</span>
          </li>`,
      )}
      ${!metadata.finishTime && html`<li><span>${stateOf(metadata)}</span> for ${duration((end - start) / 1000)}</li>`}
    </ol>
  </section>`;
}

function Facts({ call }) {
  const metadata = call.metadata ?? {};
  const requests = Number(metadata.requestCount ?? 0);
  const size = metadata.requestBytes === undefined ? "size unknown" : bytes(metadata.requestBytes);
  const facts = [
    ["State", html`<span class=${`state ${stateOf(metadata)}`}>${stateOf(metadata)}</span>`],
    ["Method", html`<a href=${linkTo("method", { name: metadata.method })}>${metadata.method}</a>`],
    ["Queue", metadata.queue],
    ["Priority", metadata.priority ?? 0],
    ["Worker", metadata.worker],
    ["Tenant", metadata.tenant],
    ["Caller", metadata.subject],
    ["Deadline", metadata.deadline && time(metadata.deadline)],
    ["Reason", metadata.reason],
    ["Requests", `${count(requests)}, ${size}`],
    ["Items", `${count(metadata.itemCount)}, ${bytes(metadata.itemBytes)}`],
  ].filter(([, value]) => value !== undefined && value !== "");
  return html`<section aria-labelledby="facts">
    <h2 id="facts">Record</h2>
    <dl class="facts">
      ${facts.map(
        ([term, value]) =>
          html`<div>
            <dt>${term}</dt>
            <dd>${value}</dd>
          </div>`,
      )}
      ${(metadata.requestMetadata ?? []).map(
        (entry) =>
          html`<div>
            <dt>metadata ${entry.key}</dt>
            <dd>${readable(entry)}</dd>
          </div>`,
      )}
    </dl>
  </section>`;
}

/** Bytes are base64 in JSON; of text metadata, the text. */
function readable({ key, value = "" }) {
  if (key.endsWith("-bin")) return value;
  return new TextDecoder().decode(Uint8Array.from(atob(value), (byte) => byte.charCodeAt(0)));
}

function CallError({ error }) {
  return html`<section aria-labelledby="error">
    <h2 id="error">Error</h2>
    <p class="failure"><strong>${CODES[error.code] ?? error.code}</strong> ${error.message}</p>
    ${(error.details ?? []).map((detail) => html`<pre tabindex="0">${json(detail, MOST_CHARACTERS)}</pre>`)}
  </section>`;
}

const Part = ({ title, value }) =>
  html`<section aria-label=${title}>
    <h2>${title}</h2>
    <pre tabindex="0">${json(value, MOST_CHARACTERS)}</pre>
  </section>`;

/** The latest items, followed to the end of the call. */
function Items({ name, expected }) {
  const listed = useSignal([]);
  const problem = useSignal(undefined);
  const isOver = useSignal(false);
  const first = useSignal(Math.max(0, expected - MOST_ITEMS));
  useEffect(() => {
    const left = new AbortController();
    follow(name, first.value, left.signal, listed)
      .then(() => (isOver.value = true))
      .catch((error) => {
        if (!left.signal.aborted) problem.value = error;
      });
    return () => left.abort();
  }, [name, first.value]);
  const shown = listed.value;
  const skipped = shown.length ? shown[0].ordinal : first.value;
  return html`<section aria-labelledby="items">
    <h2 id="items">Items</h2>
    <${Failure} error=${problem.value} />
    ${skipped > 0 && html`<p class="soft">The first ${count(skipped)} are not shown; \`forebay logs\` prints all.</p>`}
    <ol class="items" aria-live="off">
      ${shown.map(
        ({ ordinal, item }) =>
          html`<li key=${ordinal}>
            <span class="soft">${ordinal}</span>
            <pre tabindex="0">${json(item, MOST_CHARACTERS)}</pre>
          </li>`,
      )}
    </ol>
    <p class="soft">
      ${isOver.value ? `${shown.length ? "No more items" : "No items"}.` : "Waiting for items."}
    </p>
  </section>`;
}

async function follow(name, first, signal, listed) {
  for await (const { ordinal = "0", item } of items(
    { name, first: String(first), follow: true },
    { signal },
  )) {
    listed.value = [...listed.value, { ordinal: Number(ordinal), item }].slice(-MOST_ITEMS);
  }
}

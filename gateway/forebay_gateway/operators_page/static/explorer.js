// The API explorer: a form from the message's descriptor, the call, and the answers as they come.
import { readTypes } from "./descriptors.js";
import { MessageForm } from "./form.js";
import { isAre, json } from "./format.js";
import { stream, unary } from "./rpc.js";
import { config, linkTo, me, mayChange } from "./session.js";
import { grpcurl, python } from "./snippets.js";
import { Failure, Snippet, announcement, html, useEffect, useRef, useSignal } from "./ui.js";

const MOST_ANSWERS = 500;
const MOST_CHARACTERS = 8000;

/** A gateway that listens on all addresses is there where this page is. */
const reachable = (address) => address.replace(/^(0\.0\.0\.0|\[::\])(?=:)/, location.hostname);

export function Explorer({ name, description }) {
  const files = description.files?.file ?? [];
  const types = useRef(readTypes(files)).current;
  const request = useSignal({});
  const seconds = useSignal(30);
  const callId = useSignal("");
  const asJson = useSignal(false);
  const run = useRun();
  const path = name.replace(/\.([^.]+)$/, "/$1");
  const { clientStreaming, serverStreaming, requestType, responseType } = description;
  const call = {
    ...{ files, path, requestType, clientStreaming, serverStreaming },
    ...{ request: request.value, seconds: seconds.value, callId: callId.value },
  };
  const server = {
    address: reachable(config.value.gateway ?? ""),
    isSecure: config.value.tls,
    knowsCallers: Boolean(config.value.authentication),
  };
  const submit = (event) => {
    event.preventDefault();
    run.start(path, { ...call }, serverStreaming);
  };
  return html`<section aria-labelledby="explorer">
    <h2 id="explorer">Try it</h2>
    <p class="soft">
      ${clientStreaming ? "stream of " : ""}${requestType} ${"→ "}
      ${serverStreaming ? "stream of " : ""}${responseType}
    </p>
    <form class="explorer" onSubmit=${submit}>
      <fieldset>
        <legend>Request</legend>
        <label class="inline">
          <input
            type="checkbox"
            checked=${asJson.value}
            onChange=${(event) => (asJson.value = event.target.checked)}
          />
          edit as JSON
        </label>
        ${
          asJson.value
            ? html`<${JsonEditor} request=${request} />`
            : html`<${MessageForm}
                types=${types}
                type=${`.${requestType}`}
                value=${request.value}
                onChange=${(next) => (request.value = next)}
              />`
        }
      </fieldset>
      <fieldset>
        <legend>Call</legend>
        <label>
          Deadline in seconds
          <input
            type="number"
            min="1"
            max="3600"
            value=${seconds.value}
            onInput=${(event) => (seconds.value = Number(event.target.value) || 30)}
          />
        </label>
        <label>
          Call id (empty: a new one)
          <input
            value=${callId.value}
            autocomplete="off"
            onInput=${(event) => (callId.value = event.target.value.trim())}
          />
        </label>
      </fieldset>
      <${Send} clientStreaming=${clientStreaming} name=${name} run=${run} />
    </form>
    <${Answers} run=${run} />
    <${Snippet} title="grpcurl" text=${grpcurl(call, server)} />
    <${Snippet} title="Python" text=${python(call, server)} />
  </section>`;
}

function Send({ clientStreaming, name, run }) {
  if (!mayChange.value) return html`<p>This page is read-only: it makes no calls.</p>`;
  if (clientStreaming)
    return html`<p>Browsers can't send a stream of requests: take one of the snippets below.</p>`;
  if (!(me.value?.methods ?? []).includes(name)) return html`<p>You may not call this method.</p>`;
  return html`<div class="toolbar">
    <button type="submit" disabled=${run.isRunning.value}>Call</button>
    <button type="button" disabled=${!run.isRunning.value} onClick=${run.stop}>Stop</button>
  </div>`;
}

function JsonEditor({ request }) {
  const text = useSignal(json(request.peek()));
  const problem = useSignal("");
  const change = (event) => {
    text.value = event.target.value;
    try {
      request.value = JSON.parse(text.value || "{}");
      problem.value = "";
    } catch (error) {
      problem.value = error.message;
    }
  };
  return html`<label>
      Request in JSON
      <textarea rows="10" spellcheck="false" value=${text.value} onInput=${change}></textarea>
    </label>
    ${problem.value && html`<p class="failure" role="alert">${problem.value}</p>`}`;
}

/** One call at a time, and its answers; leaving the view disconnects. */
function useRun() {
  const answers = useSignal([]);
  const total = useSignal(0);
  const error = useSignal(undefined);
  const isRunning = useSignal(false);
  const callId = useSignal("");
  const left = useRef(undefined);
  useEffect(() => () => left.current?.abort(), []);
  const add = (answer) => {
    total.value += 1;
    answers.value = [...answers.value, { ordinal: total.value, answer }].slice(-MOST_ANSWERS);
  };
  const start = async (path, call, isStream) => {
    const own = new AbortController();
    left.current = own;
    const headers = { "connect-timeout-ms": String(call.seconds * 1000) };
    if (call.callId) headers["forebay-call-id"] = call.callId;
    const options = {
      signal: own.signal,
      headers,
      onHead: (head) => (callId.value = head.get("forebay-call-id") ?? ""),
    };
    [answers.value, total.value, error.value, callId.value, isRunning.value] = [
      [],
      0,
      undefined,
      "",
      true,
    ];
    try {
      if (isStream) for await (const answer of stream(path, call.request, options)) add(answer);
      else add(await unary(path, call.request, options));
      announcement.value = `the call ended with ${isAre(total.value, "answer")}`;
    } catch (problem) {
      if (!own.signal.aborted) error.value = problem;
    } finally {
      isRunning.value = false;
    }
  };
  return { answers, total, error, isRunning, callId, start, stop: () => left.current?.abort() };
}

function Answers({ run: { answers, total, error, isRunning, callId } }) {
  if (!isRunning.value && !answers.value.length && !error.value) return null;
  const id = callId.value || error.value?.callId;
  const name = `operations/${id}`;
  return html`<section aria-label="Answers">
    <h3>Answers</h3>
    ${id && html`<p>Call <a class="id" href=${linkTo("call", { name })}>${id}</a></p>`}
    <ol class="items">
      ${answers.value.map(
        ({ ordinal, answer }) =>
          html`<li key=${ordinal}>
            <span class="soft">${ordinal}</span>
            <pre tabindex="0">${json(answer, MOST_CHARACTERS)}</pre>
          </li>`,
      )}
    </ol>
    <${Failure} error=${error.value} />
    ${error.value?.details?.map((detail) => html`<pre tabindex="0">${json(detail.debug ?? detail, MOST_CHARACTERS)}</pre>`)}
    <p class="soft" role="status">
      ${isRunning.value ? "The call runs." : `The call has ended after ${isAre(total.value, "answer")}.`}
    </p>
  </section>`;
}

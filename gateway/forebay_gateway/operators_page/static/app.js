// The page: head, navigation, and the view of the address.
import { CallView } from "./call.js";
import { CallsView } from "./calls.js";
import { FleetView } from "./fleet.js";
import { MethodView, MethodsView } from "./methods.js";
import { OverviewView } from "./overview.js";
import {
  config,
  identify,
  identityError,
  linkTo,
  me,
  place,
  readConfig,
  useToken,
} from "./session.js";
import { Failure, announcement, html, render, useEffect, useRef, useSignal } from "./ui.js";

const VIEWS = {
  overview: { title: "Overview", of: OverviewView },
  calls: { title: "Calls", of: CallsView },
  call: { title: "Call", of: CallView, below: "calls" },
  fleet: { title: "Queues and workers", of: FleetView },
  methods: { title: "Methods", of: MethodsView },
  method: { title: "Method", of: MethodView, below: "methods" },
};

function Page() {
  const { view, values } = place.value;
  const known = VIEWS[view] ?? VIEWS.overview;
  const main = useRef(null);
  const isFirst = useRef(true);
  useEffect(() => {
    document.title = `${known.title} · Forebay`;
    // A screen reader goes on at the heading of the new view, not where the old one was.
    if (!isFirst.current) main.current?.querySelector("h1")?.focus();
    isFirst.current = false;
  }, [view, values.name]);
  return html`
    <a class="skip" href="#main" onClick=${(event) => skip(event, main)}>Skip to the content</a>
    <header>
      <span class="brand">Forebay</span>
      <nav aria-label="Views">
        ${Object.entries(VIEWS).map(
          ([name, one]) =>
            !one.below &&
            html`<a href=${linkTo(name)} aria-current=${isCurrent(name, view) ? "page" : undefined}
              >${one.title}</a
            >`,
        )}
      </nav>
      ${config.value.readOnly && html`<span class="badge">read-only</span>`}
      <${Identity} />
    </header>
    <main id="main" ref=${main}>
      ${
        me.value
          ? html`<${known.of} key=${view + (values.name ?? "")} values=${values} />`
          : html`<h1 tabindex="-1">Forebay</h1>
              <${Failure} error=${identityError.value} />`
      }
    </main>
    <p class="unseen" role="status" aria-live="polite">${announcement.value}</p>
  `;
}

function skip(event, main) {
  event.preventDefault();
  main.current?.querySelector("h1")?.focus();
}

function isCurrent(name, view) {
  return name === view || name === VIEWS[view]?.below;
}

/** Who the caller is, and the field for a token where the gateway wants one. */
function Identity() {
  const text = useSignal("");
  if (!config.value.authentication) return null;
  if (me.value?.authenticated) {
    return html`<span class="identity">
      ${me.value.subject}${me.value.tenant && html` of <b>${me.value.tenant}</b>`}
      <button type="button" onClick=${() => useToken("")}>Forget token</button>
    </span>`;
  }
  const submit = (event) => {
    event.preventDefault();
    useToken(text.value);
    text.value = "";
  };
  return html`<form class="identity" onSubmit=${submit} autocomplete="off">
    <label>
      Token
      <input
        type="password"
        autocomplete="off"
        value=${text.value}
        onInput=${(event) => (text.value = event.target.value)}
      />
    </label>
    <button type="submit">Use</button>
  </form>`;
}

await readConfig();
await identify();
const root = document.getElementById("page");
root.replaceChildren();
render(html`<${Page} />`, root);

// What every view is made of: htm bound to preact, signals, and loading that never shows stale data.
import { h, render } from "./vendor/preact.js";
import { useEffect, useRef } from "./vendor/hooks.js";
import { computed, effect, signal, useSignal } from "./vendor/signals.js";
import htm from "./vendor/htm.js";

// htm makes elements and text nodes, never HTML from text: whatever a caller wrote stays text.
export const html = htm.bind(h);
export { computed, effect, render, signal, useEffect, useRef, useSignal };

/** Said aloud by screen readers; a view sets it after an action. */
export const announcement = signal("");

/** Grows when everything must be loaded again, such as after another token was given. */
export const generation = signal(0);

/**
 * Loads now, every `everyMs` while the page is visible (0: not again), and whenever `key` changes.
 *
 * Returns a signal with `data` and `error`, and a function that loads at once. A newer load cancels
 * an older one, so that an answer from before an action never replaces one from after it. An error
 * that lasts ends the loading.
 */
export function useLoaded(load, everyMs, key = "") {
  const state = useSignal({ data: undefined, error: undefined });
  const reload = useRef(async () => {});
  const latest = useRef(load);
  latest.current = load;
  const now = generation.value;
  useEffect(() => {
    let timer;
    let current;
    const again = () => {
      if (everyMs) timer = setTimeout(() => (document.hidden ? again() : run()), everyMs);
    };
    const run = async () => {
      clearTimeout(timer);
      current?.abort();
      const own = new AbortController();
      current = own;
      try {
        const data = await latest.current(own.signal);
        if (!own.signal.aborted) state.value = { data, error: undefined };
      } catch (error) {
        if (!own.signal.aborted) state.value = { data: state.peek().data, error };
        if (error.isPermanent) return;
      }
      if (!own.signal.aborted) again();
    };
    state.value = { data: undefined, error: undefined };
    reload.current = run;
    run();
    return () => {
      clearTimeout(timer);
      current?.abort();
    };
  }, [key, now]);
  return [state, () => reload.current()];
}

/** The error of a load, in words; nothing without one. */
export function Failure({ error }) {
  if (!error) return null;
  return html`<p class="failure" role="alert">
    <strong>${error.code ?? "error"}</strong> ${error.message}
  </p>`;
}

/** A table that scrolls sideways in itself where it is too wide, also by the keyboard. */
export function Table({ label, head, children, empty }) {
  const isEmpty = Array.isArray(children) ? children.flat().length === 0 : !children;
  return html`<div class="scrolls" tabindex="0" role="region" aria-label=${label}>
    <table>
      <thead>
        <tr>
          ${head.map(([name, kind]) => html`<th scope="col" class=${kind ?? ""}>${name}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${
          isEmpty
            ? html`<tr>
                <td class="empty" colspan=${head.length}>${empty ?? "none"}</td>
              </tr>`
            : children
        }
      </tbody>
    </table>
  </div>`;
}

/** A text to copy. */
export function Snippet({ title, text }) {
  const copied = useSignal(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      copied.value = true;
      announcement.value = `${title} copied`;
    } catch {
      announcement.value = "This browser lets no page copy over plain HTTP: select the text";
    }
  };
  return html`<figure class="snippet">
    <figcaption>
      ${title}
      <button type="button" onClick=${copy}>${copied.value ? "Copied" : "Copy"}</button>
    </figcaption>
    <pre tabindex="0">${text}</pre>
  </figure>`;
}

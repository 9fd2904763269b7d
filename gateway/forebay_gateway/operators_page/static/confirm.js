// A question before something is changed that can't be changed back.
import { html, signal, useEffect, useRef } from "./ui.js";

const asked = signal(undefined);

/** Asks; true if the answer is yes. `action` is the text of the button that says so. */
export function confirmed(question, action) {
  return new Promise((resolve) => {
    asked.value = { question, action, resolve };
  });
}

export function Confirmation() {
  const dialog = useRef(null);
  const { question, action, resolve } = asked.value ?? {};
  useEffect(() => {
    if (asked.value) dialog.current?.showModal();
  }, [asked.value]);
  const answer = (yes) => {
    dialog.current?.close();
    asked.value = undefined;
    resolve?.(yes);
  };
  const cancelled = (event) => {
    event.preventDefault();
    answer(false);
  };
  return html`<dialog ref=${dialog} onCancel=${cancelled} aria-labelledby="question">
    <p id="question">${question}</p>
    <div class="actions">
      <button type="button" onClick=${() => answer(false)}>Keep</button>
      <button type="button" class="danger" onClick=${() => answer(true)}>${action}</button>
    </div>
  </dialog>`;
}

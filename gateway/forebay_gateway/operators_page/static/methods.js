// Methods: their routes and problems, and one method with the API explorer.
import { Explorer } from "./explorer.js";
import { shortMethod } from "./format.js";
import { calls } from "./rpc.js";
import { linkTo, me } from "./session.js";
import { Failure, Table, html, useLoaded } from "./ui.js";

const EVERY_MS = 5000;

const readMethods = (signal) => calls("ListMethods", {}, { signal });

export function MethodsView() {
  const [state] = useLoaded(readMethods, EVERY_MS);
  const head = [
    ...[["Method"], ["Queue"], ["Task", "wide"], ["Policy", "wide"], ["Slots", "number"]],
    ...[["Requires", "wide"], ["Problems"]],
  ];
  return html`
    <h1 tabindex="-1">Methods</h1>
    <${Failure} error=${state.value.error} />
    ${
      state.value.error &&
      html`<ul>
        ${(me.value?.methods ?? []).map((name) => html`<li><a href=${linkTo("method", { name })}>${name}</a></li>`)}
      </ul>`
    }
    ${
      state.value.data &&
      html`<${Table} label="Methods" head=${head}>
        ${(state.value.data.methods ?? []).map(
          (one) =>
            html`<tr key=${one.name}>
              <td title=${one.name}>
                <a href=${linkTo("method", { name: one.name })}>${shortMethod(one.name)}</a>
              </td>
              <td>${one.queue}</td>
              <td class="wide text">${one.task}</td>
              <td class="wide">${one.policy}</td>
              <td class="number">${one.slots ?? 0}</td>
              <td class="wide text">${one.requires}</td>
              <td class="text">${problemsOf(one)}</td>
            </tr>`,
        )}
      <//>`
    }
  `;
}

const problemsOf = (method) =>
  (method.problems ?? []).map(
    (one) =>
      html`<div class="bad">${one.description}. <span class="fix">Fix: ${one.fix}</span></div>`,
  );

export function MethodView({ values: { name = "" } }) {
  const [state] = useLoaded(readMethods, EVERY_MS);
  const [description] = useLoaded(
    (signal) => calls("DescribeMethod", { method: name }, { signal }),
    0,
    name,
  );
  const method = (state.value.data?.methods ?? []).find((one) => one.name === name);
  return html`
    <h1 tabindex="-1">${shortMethod(name)}</h1>
    <p class="text soft">${name}</p>
    ${
      method &&
      html`<dl class="facts">
        <div>
          <dt>Task</dt>
          <dd>${method.task}</dd>
        </div>
        <div>
          <dt>Queue</dt>
          <dd><a href=${linkTo("fleet")}>${method.queue}</a></dd>
        </div>
        <div>
          <dt>Policy</dt>
          <dd>${method.policy}</dd>
        </div>
        <div>
          <dt>Requires</dt>
          <dd>${method.requires}</dd>
        </div>
        <div>
          <dt>Workers</dt>
          <dd>${(method.workers ?? []).join(", ") || "none"}</dd>
        </div>
        <div>
          <dt>Calls</dt>
          <dd><a href=${linkTo("calls", { method: name })}>in the list</a></dd>
        </div>
      </dl>`
    }
    ${method && problemsOf(method)}
    <${Failure} error=${description.value.error} />
    ${description.value.data && html`<${Explorer} key=${name} name=${name} description=${description.value.data} />`}
  `;
}

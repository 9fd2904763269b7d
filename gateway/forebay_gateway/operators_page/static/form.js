// A form for a message: it edits a value of JSON, and knows nothing of how that is sent.
import { fieldsOf } from "./descriptors.js";
import { html } from "./ui.js";

/** `value` is the message in JSON; `onChange` gets the whole message anew. */
export function MessageForm({ types, type, value, onChange, path = "" }) {
  const fields = fieldsOf(types, type);
  if (!fields.length) return html`<p class="soft">This message has no fields.</p>`;
  const set = (name, next) => {
    const changed = { ...value };
    if (next === undefined) delete changed[name];
    else changed[name] = next;
    onChange(changed);
  };
  const oneofs = new Set();
  return fields.map((field) => {
    if (!field.oneof)
      return html`<${Field}
        key=${field.name}
        ...${{ types, field, value: value[field.name], path }}
        onChange=${(next) => set(field.name, next)}
      />`;
    if (oneofs.has(field.oneof)) return null;
    oneofs.add(field.oneof);
    const members = fields.filter((one) => one.oneof === field.oneof);
    return html`<${Choice}
      key=${field.oneof}
      ...${{ types, members, value, onChange, path }}
      name=${field.oneof}
    />`;
  });
}

/** A oneof: which of its fields is set, and that field. */
function Choice({ types, name, members, value, onChange, path }) {
  const chosen = members.find((one) => one.name in value);
  const choose = (event) => {
    const rest = { ...value };
    for (const one of members) delete rest[one.name];
    const next = members.find((one) => one.name === event.target.value);
    onChange(next ? { ...rest, [next.name]: initial(next) } : rest);
  };
  return html`<fieldset>
    <legend>${name}</legend>
    <label>
      one of
      <select value=${chosen?.name ?? ""} onChange=${choose}>
        <option value="">none</option>
        ${members.map((one) => html`<option value=${one.name}>${one.protoName}</option>`)}
      </select>
    </label>
    ${
      chosen &&
      html`<${Field}
        key=${chosen.name}
        ...${{ types, field: chosen, value: value[chosen.name], path }}
        onChange=${(next) => onChange({ ...value, [chosen.name]: next ?? initial(chosen) })}
      />`
    }
  </fieldset>`;
}

function Field({ types, field, value, onChange, path }) {
  const label = field.protoName;
  const inner = `${path}${label}.`;
  if (field.kind === "map")
    return html`<${Entries} ...${{ types, field, value: value ?? {}, onChange, inner }} />`;
  if (field.isRepeated)
    return html`<${Elements} ...${{ types, field, value: value ?? [], onChange, inner }} />`;
  if (field.kind !== "message") return html`<${Input} ...${{ field, value, onChange, label }} />`;
  return html`<fieldset>
    <legend>${label}</legend>
    ${
      value === undefined
        ? html`<button type="button" onClick=${() => onChange({})}>Set ${label}</button>`
        : html`<${MessageForm} ...${{ types, type: field.type, value, onChange }} path=${inner} />
            <button type="button" onClick=${() => onChange(undefined)}>Unset ${label}</button>`
    }
  </fieldset>`;
}

function Elements({ types, field, value, onChange, inner }) {
  const single = { ...field, isRepeated: false };
  const set = (at, next) =>
    onChange(value.map((one, index) => (index === at ? (next ?? initial(field)) : one)));
  const remove = (at) => {
    const left = value.filter((_, index) => index !== at);
    onChange(left.length ? left : undefined);
  };
  return html`<fieldset>
    <legend>${field.protoName}, a list</legend>
    ${value.map(
      (one, index) =>
        html`<div class="element" key=${index}>
          <${Field}
            types=${types}
            field=${{ ...single, protoName: `${field.protoName} ${index + 1}` }}
            value=${one}
            path=${inner}
            onChange=${(next) => set(index, next)}
          />
          <button
            type="button"
            aria-label=${`Remove ${field.protoName} ${index + 1}`}
            onClick=${() => remove(index)}
          >
            Remove
          </button>
        </div>`,
    )}
    <button type="button" onClick=${() => onChange([...value, initial(field)])}>
      Add ${field.protoName}
    </button>
  </fieldset>`;
}

function Entries({ types, field, value, onChange, inner }) {
  const entries = Object.entries(value);
  const put = (next) => onChange(next.length ? Object.fromEntries(next) : undefined);
  const free = () => {
    if (field.key.kind === "bool") return "true" in value ? "false" : "true";
    return field.key.hint === "string" ? `key${entries.length + 1}` : String(entries.length + 1);
  };
  const replaced = (at, entry) => put(entries.map((one, index) => (index === at ? entry : one)));
  return html`<fieldset>
    <legend>${field.protoName}, a map</legend>
    ${entries.map(
      ([key, one], index) =>
        html`<div class="element" key=${index}>
          <label
            >key ${index + 1}<input
              value=${key}
              onChange=${(event) => replaced(index, [event.target.value, one])}
          /></label>
          <${Field}
            types=${types}
            field=${{ ...field.value, protoName: `value ${index + 1}` }}
            value=${one}
            path=${inner}
            onChange=${(next) => replaced(index, [key, next ?? initial(field.value)])}
          />
          <button
            type="button"
            aria-label=${`Remove ${key}`}
            onClick=${() => put(entries.filter((_, at) => at !== index))}
          >
            Remove
          </button>
        </div>`,
    )}
    <button type="button" onClick=${() => put([...entries, [free(), initial(field.value)]])}>
      Add to ${field.protoName}
    </button>
  </fieldset>`;
}

function Input({ field, value, onChange, label }) {
  const given = (text) => (text === "" ? undefined : text);
  if (field.kind === "bool") {
    const change = (event) =>
      onChange(event.target.value === "" ? undefined : event.target.value === "true");
    return html`<label
      >${label}<select value=${value === undefined ? "" : String(value)} onChange=${change}>
        <option value="">unset</option>
        <option value="true">true</option>
        <option value="false">false</option>
      </select></label
    >`;
  }
  if (field.kind === "enum") {
    return html`<label
      >${label}<select
        value=${value ?? ""}
        onChange=${(event) => onChange(given(event.target.value))}
      >
        <option value="">unset</option>
        ${field.options.map((one) => html`<option value=${one}>${one}</option>`)}
      </select></label
    >`;
  }
  if (field.kind === "json") {
    const change = (event) => onChange(parsed(event.target.value));
    return html`<label
      >${label}<textarea placeholder=${field.hint} onChange=${change}>
${value === undefined ? "" : JSON.stringify(value)}</textarea>
    </label>`;
  }
  const change = (event) =>
    onChange(field.kind === "number" ? number(event.target.value) : given(event.target.value));
  return html`<label
    >${label}<input
      placeholder=${field.hint}
      value=${value ?? ""}
      onInput=${change}
      autocomplete="off"
  /></label>`;
}

/** A number, or the text where it is none: NaN and Infinity are texts in JSON, the rest is refused. */
function number(text) {
  if (text.trim() === "") return undefined;
  return Number.isFinite(Number(text)) && String(Number(text)) === text.trim()
    ? Number(text)
    : text.trim();
}

function parsed(text) {
  if (text.trim() === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function initial(field) {
  if (field.kind === "message") return {};
  if (field.kind === "bool") return false;
  if (field.kind === "enum") return field.options[0];
  if (field.kind === "json") return null;
  return field.kind === "number" || field.hint === "number" || isInteger(field.hint) ? 0 : "";
}

const isInteger = (hint) => /^(u|s)?(int|fixed)\d+$|^sfixed\d+$/.test(hint);

// What the list of calls is filtered by, and its text in the language of ListOperations. Pure.

export const STATES = [
  "RECEIVING",
  "QUEUED",
  "RUNNING",
  "SUCCEEDED",
  "FAILED",
  "CANCELLED",
  "EXPIRED",
];

/** The fields of the form, and how each becomes a comparison. */
const COMPARISONS = {
  state: (value) =>
    value === "ACTIVE"
      ? "done = false"
      : value === "ENDED"
        ? "done = true"
        : `state = ${quoted(value)}`,
  method: (value) =>
    `method = ${quoted(value.includes(".") || value.includes("*") ? value : `*.${value}`)}`,
  queue: (value) => `queue = ${quoted(value)}`,
  worker: (value) => `worker = ${quoted(`*${value}*`)}`,
  reason: (value) => `reason = ${quoted(value)}`,
  tenant: (value) => `tenant = ${quoted(value)}`,
  id: (value) => `name = ${quoted(`*${value}*`)}`,
  since: (value) => `create_time >= ${quoted(new Date(value).toISOString())}`,
  until: (value) => `create_time <= ${quoted(new Date(value).toISOString())}`,
};

export const FIELDS = Object.keys(COMPARISONS);

/** The filter; fields that are empty, or no valid times, are left out. */
export function filterText(values) {
  return FIELDS.filter((field) => values[field] && !isBadTime(field, values[field]))
    .map((field) => COMPARISONS[field](values[field]))
    .join(" AND ");
}

function isBadTime(field, value) {
  return (field === "since" || field === "until") && Number.isNaN(Date.parse(value));
}

/** A text in quotes, so that nothing in it is syntax. */
export const quoted = (text) => `"${text.replace(/[\\"]/g, "\\$&")}"`;

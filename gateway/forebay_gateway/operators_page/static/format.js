// Values as people read them. Pure.

/** Seconds of a JSON duration, such as "1.5s"; undefined stays so. */
export const seconds = (duration) => (duration === undefined ? undefined : parseFloat(duration));

/** Milliseconds since 1970 of a JSON time; undefined stays so. */
export const millis = (time) => (time === undefined ? undefined : Date.parse(time));

/** A duration in at most two units: "12 ms", "1.5 s", "3 min 5 s". */
export function duration(s) {
  if (s === undefined || Number.isNaN(s)) return "–";
  if (s < 0) s = 0;
  if (s < 1) return `${Number((s * 1000).toPrecision(2))} ms`;
  if (s < 60) return `${Number(s.toPrecision(s < 10 ? 2 : 3))} s`;
  for (const [size, unit, part, below] of [
    [86400, "d", 3600, "h"],
    [3600, "h", 60, "min"],
  ]) {
    if (s >= size)
      return `${Math.floor(s / size)} ${unit} ${Math.floor((s % size) / part)} ${below}`;
  }
  return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
}

export function bytes(count) {
  const value = Number(count ?? 0);
  for (const [size, unit] of [
    [2 ** 30, "GiB"],
    [2 ** 20, "MiB"],
    [2 ** 10, "KiB"],
  ]) {
    if (value >= size) return `${(value / size).toFixed(1)} ${unit}`;
  }
  return `${value} B`;
}

export const count = (value) => Number(value ?? 0).toLocaleString("en");

export function rate(perSecond) {
  return perSecond >= 100 ? perSecond.toFixed(0) : perSecond.toFixed(perSecond >= 10 ? 1 : 2);
}

/** The time in this browser's zone: "2026-01-31 14:05:09". */
export function time(text) {
  if (text === undefined) return "–";
  const date = new Date(text);
  const two = (value) => String(value).padStart(2, "0");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":")}`;
}

/** "operations/ID" is ID, "tenants/T/operations/ID" is T/ID; any other name stays as it is. */
export function idOf(name) {
  const [, tenant, id] = /^(?:tenants\/([^/]*)\/)?operations\/(.*)$/s.exec(name) ?? [];
  if (id === undefined) return name;
  return tenant === undefined ? id : `${tenant}/${id}`;
}

export const shortMethod = (name) => (name ?? "").split(".").slice(-2).join(".");
export const stateOf = (metadata) =>
  (metadata?.state ?? "").replace("CALL_STATE_", "") || "UNKNOWN";
export const isAre = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

/** The names of gRPC's codes, by their numbers. */
export const CODES = [
  ...["OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"],
  ...[
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
  ],
  ...["OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"],
];

/** A value of JSON on several lines, cut where it is long. */
export function json(value, most = Infinity) {
  const text = JSON.stringify(value, null, 2) ?? "";
  return text.length > most ? `${text.slice(0, most)} …` : text;
}

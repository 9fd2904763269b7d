// Who uses the page, what they may do, and where they are in it.
import { calls, token } from "./rpc.js";
import { computed, generation, signal } from "./ui.js";

/** What the server says of itself: version, address of the gateway, whether the page is read-only. */
export const config = signal({});

/** The answer of WhoAmI; undefined until it came, and where the token is missing or bad. */
export const me = signal(undefined);
export const identityError = signal(undefined);

/** The view and its parameters, from the part of the address after #. */
export const place = signal(readPlace());

export async function readConfig() {
  const response = await fetch(new URL("page.json", document.baseURI), { cache: "no-store" });
  config.value = await response.json();
}

export async function identify() {
  try {
    me.value = await calls("WhoAmI");
    identityError.value = undefined;
  } catch (error) {
    me.value = undefined;
    identityError.value = error;
  }
  generation.value += 1;
}

export async function useToken(text) {
  token.value = text.trim();
  await identify();
}

/** Whether the caller has the permission; the server decides, this only hides what it would refuse. */
export function may(permission) {
  if (!me.value) return false;
  if (!me.value.authenticated) return true;
  return (me.value.permissions ?? []).some((pattern) =>
    pattern.endsWith("*") ? permission.startsWith(pattern.slice(0, -1)) : permission === pattern,
  );
}

export const mayChange = computed(() => config.value.readOnly === false);
export const mayCancel = computed(() => mayChange.value && may("forebay.calls.cancel"));
export const mayDelete = computed(() => mayChange.value && may("forebay.calls.delete"));
export const mayRead = computed(() => may("forebay.calls.read"));
export const seesTenants = computed(
  () => Boolean(me.value?.authenticated) && may("forebay.calls.any_tenant"),
);

/** The `name` of a listing: calls of all tenants for those who may see them. */
export const collection = computed(() => (seesTenants.value ? "tenants/-/operations" : ""));

function readPlace() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { view: path || "overview", values: Object.fromEntries(new URLSearchParams(query)) };
}

/** The address of a view; values that are empty are left out. */
export function linkTo(view, values = {}) {
  const given = Object.entries(values).filter(([, value]) => value);
  const query = new URLSearchParams(given).toString();
  return `#/${view}${query ? `?${query}` : ""}`;
}

addEventListener("hashchange", () => {
  place.value = readPlace();
});

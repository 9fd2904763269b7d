// A call of a method that streams, followed by server-sent events.
//
// The page makes the call's id and keeps it, so that it finds the call again after a reload. The
// browser reconnects by itself when a connection breaks, and goes on with the next response.

/** The web front of a gateway: `?gateway=…` in the page's address, or the one of `forebay up`. */
export const GATEWAY = new URLSearchParams(location.search).get("gateway") ?? "http://127.0.0.1:8080";

export class Call {
  /**
   * Follows the call until it has ended. `request` is null for a call that was made before.
   * `onResponse` gets each response; `onEnd` gets null, or the google.rpc.Status of a call that failed.
   */
  constructor(method, id, request, { onResponse, onEnd }) {
    this.id = id;
    this.error = null;
    const parameters = new URLSearchParams({ call_id: id });
    if (request !== null) parameters.set("message", JSON.stringify(request));
    this.events = new EventSource(`${GATEWAY}/${method}?${parameters}`);
    this.events.onmessage = ({ data }) => onResponse(JSON.parse(data));
    this.events.addEventListener("error", ({ data }) => {
      if (data) this.error = JSON.parse(data); // without data, the connection broke: it is made anew
    });
    this.events.addEventListener("end", () => {
      this.events.close();
      onEnd(this.error);
    });
  }

  /** Asks the gateway to stop the call; its end comes as an event. */
  async cancel() {
    await fetch(`${GATEWAY}/google.longrunning.Operations/CancelOperation`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name: `operations/${this.id}` }),
    });
  }
}

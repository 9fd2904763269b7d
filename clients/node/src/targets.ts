// The addresses of the gateways. Pure.

/**
 * The targets of "HOST:PORT,HOST:PORT" or of an array. Throws a TypeError if there is none, or if
 * one is not HOST:PORT.
 */
export function readTargets(targets: string | readonly string[]): readonly string[] {
  const read = (typeof targets === "string" ? targets.split(",") : targets).map((one) => one.trim());
  const wrong = read.find((target) => !isHostAndPort(target));
  if (wrong !== undefined || read.length === 0) {
    throw new TypeError(
      `targets ${JSON.stringify(targets)}: expected HOST:PORT, or several separated by commas`,
    );
  }
  return read;
}

/** Whether only this machine is reached by the target. */
export function isLoopback(target: string): boolean {
  const host = hostOf(target);
  return host === "localhost" || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
}

function isHostAndPort(target: string): boolean {
  return /^[^\s/@?#]+:\d{1,5}$/.test(target) && URL.canParse(`http://${target}`);
}

function hostOf(target: string): string {
  return new URL(`http://${target}`).hostname;
}

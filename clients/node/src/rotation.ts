// Which target the next attempt goes to. Pure.

/** A target that failed is avoided for this long, unless all others have failed, too. */
export const COOLDOWN_MS = 5_000;

/** Round robin over targets, those that failed lately last. */
export class Rotation {
  readonly #cooldownUntil: number[];
  readonly #clock: () => number;
  #turn: number;

  constructor(targets: number, clock: () => number, first = 0) {
    this.#cooldownUntil = new Array<number>(targets).fill(-Infinity);
    this.#clock = clock;
    this.#turn = first;
  }

  get size(): number {
    return this.#cooldownUntil.length;
  }

  /** The target of the next attempt; not `avoid` if there is another. */
  next(avoid?: number): number {
    const turn = this.#turn++;
    const turns = Array.from({ length: this.size }, (_, step) => (turn + step) % this.size);
    const others = turns.filter((target) => target !== avoid);
    const now = this.#clock();
    const availableAt = (target: number) => Math.max(this.#cooldownUntil[target] ?? now, now);
    return (others.length > 0 ? others : turns).reduce((best, target) =>
      availableAt(target) < availableAt(best) ? target : best,
    );
  }

  failed(target: number): void {
    this.#cooldownUntil[target] = this.#clock() + COOLDOWN_MS;
  }

  answered(target: number): void {
    this.#cooldownUntil[target] = -Infinity;
  }
}

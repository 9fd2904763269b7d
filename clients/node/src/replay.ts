// The requests of a call, sent again by each of its attempts.

const REPEATABLE = Symbol("repeatable");

type Repeatable<T> = AsyncIterable<T> & { readonly [REPEATABLE]: true };

/**
 * Requests that can be read again from the first, such as those of a file: `open` is called for each
 * attempt. Requests of other iterables are kept in memory until a gateway has all of them.
 */
export function repeatable<T>(open: () => Iterable<T> | AsyncIterable<T>): AsyncIterable<T> {
  const requests: Repeatable<T> = {
    [REPEATABLE]: true,
    [Symbol.asyncIterator]: () => asynchronous(open()),
  };
  return requests;
}

/** Reads the caller's requests once, and replays them to any number of attempts. */
export class Replay<T> {
  readonly #repeatable: AsyncIterable<T> | undefined;
  readonly #source: AsyncIterable<T>;
  #iterator: AsyncIterator<T> | undefined;
  #kept: T[] = [];
  #taking: Promise<boolean> | undefined;
  #hasFailed = false;

  constructor(source: AsyncIterable<T>) {
    this.#source = source;
    this.#repeatable = REPEATABLE in source ? source : undefined;
  }

  /** Whether the caller's iterable has thrown: then no attempt can send all requests. */
  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  /** All requests, from the first on. */
  async *requests(): AsyncGenerator<T> {
    if (this.#repeatable !== undefined) {
      yield* this.#reopened(this.#repeatable);
      return;
    }
    const kept = this.#kept;
    for (let index = 0; index < kept.length || (await this.#takeNext(kept)); index++) {
      yield kept[index] as T;
    }
  }

  /** Forgets the kept requests: no later attempt will send them. */
  release(): void {
    this.#kept = [];
  }

  /** No `yield*`: an attempt that is aborted throws its error into this generator. */
  async *#reopened(source: AsyncIterable<T>): AsyncGenerator<T> {
    const iterator = this.#opened(source);
    let isOpen = true;
    try {
      for (;;) {
        isOpen = false;
        const next = await this.#next(iterator);
        if (next.done === true) {
          return;
        }
        isOpen = true;
        yield next.value;
      }
    } finally {
      if (isOpen) {
        await iterator.return?.();
      }
    }
  }

  /** Reads one more request, or waits for a failed attempt that reads it; false at the end. */
  #takeNext(kept: T[]): Promise<boolean> {
    this.#taking ??= this.#take(kept).finally(() => (this.#taking = undefined));
    return this.#taking;
  }

  async #take(kept: T[]): Promise<boolean> {
    this.#iterator ??= this.#opened(this.#source);
    const next = await this.#next(this.#iterator);
    if (next.done !== true) {
      kept.push(next.value);
    }
    return next.done !== true;
  }

  #opened(source: AsyncIterable<T>): AsyncIterator<T> {
    try {
      return source[Symbol.asyncIterator]();
    } catch (error) {
      this.#hasFailed = true;
      throw error;
    }
  }

  async #next(iterator: AsyncIterator<T>): Promise<IteratorResult<T>> {
    try {
      return await iterator.next();
    } catch (error) {
      this.#hasFailed = true;
      throw error;
    }
  }
}

async function* asynchronous<T>(requests: Iterable<T> | AsyncIterable<T>): AsyncGenerator<T> {
  yield* requests;
}

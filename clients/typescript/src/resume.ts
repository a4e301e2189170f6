// Calls and streams that are made again: how long to wait, when a stream counts as dead, and when to give up.

import { type CallOptions, Code } from "@connectrpc/connect";

import { AgentRuntimeError } from "./error.js";

const BOOKMARK_INTERVAL_MS = 15_000;

/** What goes with what is asked for. */
export interface Options {
  /** Ends it. */
  signal?: AbortSignal;
  /** Told when a stream was cut, and why, and when it goes on; the stream comes back by itself. */
  onConnection?: (isOpen: boolean, why?: AgentRuntimeError) => void;
}

/** Waits that double from 0.1 s to 10 s, with jitter, so that the watchers of a restarted server do not come back as one. */
export class Backoff {
  #failures = 0;

  /** Something arrived: the next failure is the first again. */
  reset(): void {
    this.#failures = 0;
  }

  /** Between half and all of the doubled time, in milliseconds, and never less than the server asked for. */
  next(retryAfterMs?: number): number {
    const ceiling = Math.min(100 * 2 ** Math.min(this.#failures++, 10), 10_000);
    const jittered = ceiling * (0.5 + Math.random() / 2);
    return retryAfterMs === undefined ? jittered : retryAfterMs + Math.min(jittered, retryAfterMs);
  }
}

/** Waits; sooner, and without an error, when the signal says so. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
    if (signal?.aborted) {
      done();
    }
  });
}

/** An id for a request: of a call that is made again it stays the same. */
export function newRequestId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A stream that goes on where it was cut. */
export abstract class Resume<Response, Item> {
  /** Nothing more comes. */
  protected done = false;
  /** Milliseconds of silence after which a stream is dead. */
  silenceMs = 3 * BOOKMARK_INTERVAL_MS;

  /** Asks for what comes after all that was taken. */
  protected abstract open(options: CallOptions): AsyncIterable<Response>;

  /** What a response brings. Giving an item out moves the cursor over it. */
  protected abstract take(response: Response): Iterable<Item>;

  /** Forgets the cursor, if the server refused it for this reason and can begin anew. */
  protected startOver(_reason: string): boolean {
    return false;
  }

  /** The items, over as many streams as it takes. */
  async *follow({ signal, onConnection }: Options = {}): AsyncGenerator<Item, void, undefined> {
    const backoff = new Backoff();
    while (!this.done) {
      signal?.throwIfAborted();
      let failed: AgentRuntimeError | undefined;
      const hangUp = new AbortController();
      const forward = (): void => hangUp.abort(signal?.reason);
      signal?.addEventListener("abort", forward);
      let guard: ReturnType<typeof setTimeout> | undefined;
      let isOpen = false;
      const silent = new AgentRuntimeError("the server has been silent for too long", Code.DeadlineExceeded);
      const expect = (): void => {
        guard = setTimeout(() => hangUp.abort(silent), this.silenceMs);
      };
      try {
        expect();
        for await (const response of this.open({ signal: hangUp.signal })) {
          // Only the server's silence counts, not the caller's.
          clearTimeout(guard);
          backoff.reset();
          if (!isOpen) {
            isOpen = true;
            onConnection?.(true);
          }
          for (const item of this.take(response)) {
            yield item;
          }
          if (this.done) {
            return;
          }
          expect();
        }
      } catch (failure) {
        signal?.throwIfAborted();
        failed = AgentRuntimeError.of(hangUp.signal.reason ?? failure);
      } finally {
        clearTimeout(guard);
        signal?.removeEventListener("abort", forward);
        hangUp.abort();
      }
      if (failed && !this.startOver(failed.reason) && !failed.isTransient) {
        throw failed;
      }
      onConnection?.(false, failed);
      await sleep(backoff.next(failed?.retryAfterMs), signal);
    }
  }
}

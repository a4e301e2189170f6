// Calls and streams that are made again: how long to wait, when a stream counts as dead, and when to give up.

import { type CallOptions, Code } from "@connectrpc/connect";

import { AgentRuntimeError } from "./error.js";

/** What goes with what is asked for. */
export interface Options {
  /** Ends it. */
  signal?: AbortSignal;
  /** Told when a stream was cut, and why, and when it goes on; the stream comes back by itself. */
  onConnection?: (isOpen: boolean, why?: AgentRuntimeError) => void;
}

/** Why a stream is hung up whose server says nothing any more. */
export class Silence extends AgentRuntimeError {
  constructor() {
    super("the server has been silent for too long", Code.DeadlineExceeded);
  }
}

// A stream that lived so long was no failure, even if it brought nothing new.
const SETTLED_MS = 10_000;

/** Waits that double from 0.1 s to 10 s, with jitter, so that the watchers of a restarted server do not come back as one. */
export class Backoff {
  #failures = 0;

  /** It works: the next failure is the first again. */
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
    const timer = setTimeout(done, signal?.aborted ? 0 : ms);
    signal?.addEventListener("abort", done);
  });
}

/** What aborts when one of these signals does, and what unties it from them, which `AbortSignal.any` cannot do. */
export function tied(...signals: (AbortSignal | undefined)[]): [AbortController, () => void] {
  const controller = new AbortController();
  const untie = (): void => signals.forEach((signal) => signal?.removeEventListener("abort", forward));
  const forward = (): void => {
    untie();
    controller.abort(signals.find((signal) => signal?.aborted)?.reason);
  };
  signals.forEach((signal) => signal?.addEventListener("abort", forward));
  if (signals.some((signal) => signal?.aborted)) {
    forward();
  }
  return [controller, untie];
}

/** A stream that can be asked for again where it was cut. */
export interface Resumable<Response, Item> {
  /** Milliseconds of silence after which it is dead. */
  silenceMs: number;
  /** Asks for what comes after all that was taken. */
  open(options: CallOptions): AsyncIterable<Response>;
  /** What a response brings; giving an item out moves the cursor over it. Returns whether nothing more is to come. */
  take(response: Response): Generator<Item, boolean>;
  /** The cursor; unset while everything comes. */
  cursor(): bigint | undefined;
  /** Whether what the server refuses can be asked for in another way, which is done from now on. */
  asksOtherwise(refused: AgentRuntimeError): boolean;
}

/** The items, over as many streams as it takes. */
export async function* follow<Response, Item>(
  stream: Resumable<Response, Item>,
  { signal, onConnection }: Options = {},
): AsyncGenerator<Item, void, undefined> {
  const backoff = new Backoff();
  let reached = stream.cursor();
  for (;;) {
    signal?.throwIfAborted();
    let failed: AgentRuntimeError | undefined;
    const [hangUp, untie] = tied(signal);
    const expect = (): ReturnType<typeof setTimeout> => setTimeout(() => hangUp.abort(new Silence()), stream.silenceMs);
    const began = Date.now();
    let guard = expect();
    let isOpen = false;
    try {
      const responses = stream.open({ signal: hangUp.signal })[Symbol.asyncIterator]();
      for (;;) {
        // What the caller's own code throws is no failure of the stream.
        const next = await responses.next().catch((failure: unknown) => {
          signal?.throwIfAborted();
          return AgentRuntimeError.of(hangUp.signal.reason ?? failure);
        });
        // Only the server's silence counts, not the caller's.
        clearTimeout(guard);
        if (next instanceof AgentRuntimeError) {
          failed = next;
          break;
        }
        if (next.done) {
          break;
        }
        if (!isOpen) {
          isOpen = true;
          onConnection?.(true);
        }
        if (yield* stream.take(next.value)) {
          return;
        }
        guard = expect();
      }
    } finally {
      clearTimeout(guard);
      untie();
      hangUp.abort();
    }
    // That it answers is not enough: something between may cut each stream after its first response.
    const cursor = stream.cursor();
    if ((cursor !== undefined && cursor !== reached) || Date.now() - began >= SETTLED_MS) {
      backoff.reset();
    }
    reached = cursor ?? reached;
    if (failed && !stream.asksOtherwise(failed) && !failed.isTransient) {
      throw failed;
    }
    onConnection?.(false, failed);
    await sleep(backoff.next(failed?.retryAfterMs), signal);
  }
}

// What a transport lacks: the key on every call, request ids, calls that are made again, and the one error.

import { clone, create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { Code, type Transport } from "@connectrpc/connect";

import { AgentRuntimeError } from "./error.js";
import { Backoff, Silence, sleep, tied } from "./resume.js";

// How often a call is made before its caller is told that it failed: two to three seconds of pauses.
const ATTEMPTS = 6;

/** What can be done to the connections that a transport makes. */
export interface Connections {
  /** What begins from now on goes over a connection of its own; what goes on is left alone. */
  apart?: () => void;
  /** Ends all of them. */
  end?: () => void;
}

/** A transport with what it lacks, and what ends all that goes on over it. */
export function reliable(base: Transport, key: string, { apart, end }: Connections): { transport: Transport; close: () => void } {
  const bearer = key.trim() === "" ? undefined : `Bearer ${key.trim()}`;
  if (/[^ -~]/.test(bearer ?? "")) {
    throw new AgentRuntimeError("the key has a line break or is not ASCII, so no header can carry it", Code.InvalidArgument);
  }
  const closing = new AbortController();
  const close = (): void => {
    closing.abort(new AgentRuntimeError("the client was closed", Code.FailedPrecondition));
    end?.();
  };
  const authorized = (init: HeadersInit | undefined): Headers => {
    const header = new Headers(init);
    if (bearer) {
      header.set("authorization", bearer);
    }
    return header;
  };
  const decode = (failure: unknown, signal: AbortSignal): unknown => {
    // The next one over the same connection would be silent, too.
    if (signal.reason instanceof Silence) {
      apart?.();
    }
    return signal.aborted ? signal.reason : AgentRuntimeError.of(failure);
  };
  async function* decoded<T>(messages: AsyncIterable<T>, signal: AbortSignal, ended: () => void): AsyncGenerator<T, void> {
    const iterator = messages[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await unlessAborted(iterator.next(), signal);
        if (next.done) {
          return;
        }
        yield next.value;
      }
    } catch (failure) {
      throw decode(failure, signal);
    } finally {
      ended();
      // It may still wait for what never comes.
      iterator.return?.().catch(() => {});
    }
  }
  const transport: Transport = {
    async unary(method, signal, timeoutMs, header, input, contextValues) {
      const message = named(method.input, create(method.input, input));
      const [{ signal: either }, untie] = tied(signal, closing.signal);
      const attempt = async (leftMs: number | undefined): ReturnType<typeof base.unary<typeof method.input, typeof method.output>> => {
        either.throwIfAborted();
        return unlessAborted(base.unary(method, either, leftMs, authorized(header), message, contextValues), either);
      };
      return again(attempt, either, timeoutMs).finally(untie);
    },
    async stream(method, signal, timeoutMs, header, input, contextValues) {
      const [{ signal: either }, untie] = tied(signal, closing.signal);
      try {
        either.throwIfAborted();
        const opens = base.stream(method, either, timeoutMs, authorized(header), input, contextValues);
        const response = await unlessAborted(opens, either);
        return { ...response, message: decoded(response.message, either, untie) };
      } catch (failure) {
        untie();
        throw decode(failure, either);
      }
    },
  };
  return { transport, close };
}

/** Waits, until the signal is aborted: what it was given to may not hear of it, as fetch of Node.js once garbage was collected. */
export function unlessAborted<T>(what: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    signal.addEventListener("abort", abort);
    if (signal.aborted) {
      abort();
    }
    what.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** Makes a call, again while what went wrong may pass and the caller waits. */
export async function again<T>(
  attempt: (leftMs: number | undefined) => Promise<T>,
  signal?: AbortSignal,
  timeoutMs?: number,
): Promise<T> {
  const backoff = new Backoff();
  const deadline = timeoutMs === undefined ? Infinity : Date.now() + timeoutMs;
  for (let made = 1; ; made++) {
    try {
      return await attempt(timeoutMs === undefined ? undefined : Math.max(deadline - Date.now(), 1));
    } catch (failure) {
      signal?.throwIfAborted();
      const error = AgentRuntimeError.of(failure);
      const pauseMs = backoff.next(error.retryAfterMs);
      if (made === ATTEMPTS || !error.isTransient || Date.now() + pauseMs >= deadline) {
        throw error;
      }
      await sleep(pauseMs, signal);
    }
  }
}

/** The request with an id, its own or a new one, if it changes something. */
export function named<D extends DescMessage>(desc: D, message: MessageShape<D>): MessageShape<D> {
  if (!desc.field["requestId"] || (message as { requestId?: string }).requestId) {
    return message;
  }
  const random = crypto.getRandomValues(new Uint8Array(16));
  const requestId = Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return Object.assign(clone(desc, message), { requestId });
}

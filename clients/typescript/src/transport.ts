// What a transport lacks: the key on every call, request ids, calls that are made again, and the one error.

import { clone, create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { Code, type Transport } from "@connectrpc/connect";

import { AgentRuntimeError } from "./error.js";
import { Backoff, newRequestId, sleep } from "./resume.js";

// How often a call is made before its caller is told that it failed: two to three seconds of pauses.
const ATTEMPTS = 6;

/** A transport with what it lacks, and what ends all that goes on over it. */
export function reliable(base: Transport, key: string, disconnect: () => void): { transport: Transport; close: () => void } {
  const streams = new Set<AbortController>();
  let closed: AgentRuntimeError | undefined;
  const close = (): void => {
    closed = new AgentRuntimeError("the client was closed", Code.FailedPrecondition);
    streams.forEach((stream) => stream.abort(closed));
    disconnect();
  };
  const authorized = (init: HeadersInit | undefined): Headers => {
    const header = new Headers(init);
    if (key.trim() !== "") {
      header.set("authorization", `Bearer ${key.trim()}`);
    }
    return header;
  };
  const transport: Transport = {
    unary(method, signal, timeoutMs, header, input, contextValues) {
      const message = named(method.input, create(method.input, input));
      const attempt = (leftMs: number | undefined): ReturnType<typeof base.unary<typeof method.input, typeof method.output>> =>
        base.unary(method, signal, leftMs, authorized(header), message, contextValues);
      return again((leftMs) => (closed ? Promise.reject(closed) : attempt(leftMs)), signal, timeoutMs);
    },
    async stream(method, signal, timeoutMs, header, input, contextValues) {
      const stream = new AbortController();
      const hangUp = (): void => {
        stream.abort(signal?.reason);
        // It was silent for too long, and so would be the next one over the same connection.
        if (signal?.reason instanceof AgentRuntimeError) {
          disconnect();
        }
      };
      const ended = (): void => {
        signal?.removeEventListener("abort", hangUp);
        streams.delete(stream);
      };
      signal?.addEventListener("abort", hangUp);
      streams.add(stream);
      async function* decoded<T>(messages: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
        try {
          yield* messages;
        } catch (failure) {
          throw AgentRuntimeError.of(closed ?? failure);
        } finally {
          ended();
        }
      }
      try {
        signal?.throwIfAborted();
        if (closed) {
          throw closed;
        }
        const response = await base.stream(method, stream.signal, timeoutMs, authorized(header), input, contextValues);
        return { ...response, message: decoded(response.message) };
      } catch (failure) {
        ended();
        throw AgentRuntimeError.of(closed ?? failure);
      }
    },
  };
  return { transport, close };
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
      const error = AgentRuntimeError.of(failure);
      const pauseMs = backoff.next(error.retryAfterMs);
      if (made === ATTEMPTS || !error.isTransient || signal?.aborted || Date.now() + pauseMs >= deadline) {
        throw error;
      }
      await sleep(pauseMs, signal);
    }
  }
}

/** The request with an id, its own or a new one, if it changes something. */
function named<D extends DescMessage>(desc: D, message: MessageShape<D>): MessageShape<D> {
  if (!desc.field["requestId"] || (message as { requestId?: string }).requestId) {
    return message;
  }
  return Object.assign(clone(desc, message), { requestId: newRequestId() });
}

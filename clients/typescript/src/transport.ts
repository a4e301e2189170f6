// What a transport lacks: the key on every call, request ids, calls that are made again, and the one error.

import { clone, create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import { Code, type Transport } from "@connectrpc/connect";

import { AgentRuntimeError } from "./error.js";
import { Backoff, newRequestId, sleep } from "./resume.js";

// How often a call is made before its caller is told that it failed: two to three seconds of pauses.
const ATTEMPTS = 6;

/** A transport with what it lacks, and what ends all that goes on over it. */
export function reliable(transport: Transport, key: string, disconnect: () => void): { transport: Transport; close: () => void } {
  const open = new Set<AbortController>();
  let closed: AgentRuntimeError | undefined;
  const close = (): void => {
    closed = new AgentRuntimeError("the client was closed", Code.FailedPrecondition);
    open.forEach((call) => call.abort(closed));
    disconnect();
  };
  // Ends with the caller's signal, or with the client.
  const began = (signal: AbortSignal | undefined): { signal: AbortSignal; ended: () => void } => {
    const call = new AbortController();
    const hangUp = (): void => {
      call.abort(signal?.reason);
      // The stream was silent for too long, and so would be the next one over the same connection.
      if (signal?.reason instanceof AgentRuntimeError) {
        disconnect();
      }
    };
    signal?.addEventListener("abort", hangUp);
    open.add(call);
    if (closed ?? signal?.aborted) {
      call.abort(closed ?? signal?.reason);
    }
    return {
      signal: call.signal,
      ended: () => {
        signal?.removeEventListener("abort", hangUp);
        open.delete(call);
      },
    };
  };
  const authorized = (init: HeadersInit | undefined): Headers => {
    const header = new Headers(init);
    if (key.trim() !== "") {
      header.set("authorization", `Bearer ${key.trim()}`);
    }
    return header;
  };
  async function* decoded<T>(messages: AsyncIterable<T>, ended: () => void): AsyncGenerator<T, void, undefined> {
    try {
      yield* messages;
    } catch (failure) {
      throw AgentRuntimeError.of(closed ?? failure);
    } finally {
      ended();
    }
  }
  const made: Transport = {
    async unary(method, signal, timeoutMs, header, input, contextValues) {
      const message = named(method.input, create(method.input, input));
      const call = began(signal);
      const attempt = (leftMs: number | undefined): ReturnType<typeof transport.unary<typeof method.input, typeof method.output>> =>
        transport.unary(method, call.signal, leftMs, authorized(header), message, contextValues);
      try {
        return await again(attempt, call.signal, timeoutMs);
      } catch (failure) {
        throw closed ?? failure;
      } finally {
        call.ended();
      }
    },
    async stream(method, signal, timeoutMs, header, input, contextValues) {
      const call = began(signal);
      try {
        const response = await transport.stream(method, call.signal, timeoutMs, authorized(header), input, contextValues);
        return { ...response, message: decoded(response.message, call.ended) };
      } catch (failure) {
        call.ended();
        throw AgentRuntimeError.of(closed ?? failure);
      }
    },
  };
  return { transport: made, close };
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

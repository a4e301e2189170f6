// What a transport lacks: the key on every call, request ids, calls that are made again, and the one error.

import { clone, create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";

import { AgentRuntimeError } from "./error.js";
import { Backoff, newRequestId, sleep } from "./resume.js";

// How often a call is made before its caller is told that it failed: two to three seconds of pauses.
const ATTEMPTS = 6;

/** The transport with what it lacks. */
export function reliable(transport: Transport, key: string): Transport {
  const authorized = (init: HeadersInit | undefined): Headers => {
    const header = new Headers(init);
    if (key.trim() !== "") {
      header.set("authorization", `Bearer ${key.trim()}`);
    }
    return header;
  };
  return {
    unary(method, signal, timeoutMs, header, input, contextValues) {
      const message = named(method.input, create(method.input, input));
      return again(
        (leftMs) => transport.unary(method, signal, leftMs, authorized(header), message, contextValues),
        signal,
        timeoutMs,
      );
    },
    async stream(method, signal, timeoutMs, header, input, contextValues) {
      try {
        const response = await transport.stream(method, signal, timeoutMs, authorized(header), input, contextValues);
        return { ...response, message: decoded(response.message) };
      } catch (failure) {
        throw AgentRuntimeError.of(failure);
      }
    },
  };
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

async function* decoded<T>(messages: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  try {
    yield* messages;
  } catch (failure) {
    throw AgentRuntimeError.of(failure);
  }
}

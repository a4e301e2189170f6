// Streams that go on: the one place that knows cursors, ranges, and when to open a stream again.

import { clone, type MessageInitShape, create } from "@bufbuild/protobuf";
import { Code, type CallOptions } from "@connectrpc/connect";

import { AgentRuntimeError } from "./error.js";
import type { SessionEvent } from "./gen/agentruntime/v1/event_pb.js";
import { SessionStatus, type Turn, TurnStatus } from "./gen/agentruntime/v1/session_pb.js";
import {
  type RunTurnRequest,
  RunTurnRequestSchema,
  type RunTurnResponse,
  type WatchSessionRequest,
  WatchSessionRequestSchema,
  type WatchSessionResponse,
} from "./gen/agentruntime/v1/session_service_pb.js";

const BOOKMARK_INTERVAL_MS = 15_000;

/** How a stream is opened. */
export interface Streams {
  watchSession(request: WatchSessionRequest, options?: CallOptions): AsyncIterable<WatchSessionResponse>;
  runTurn(request: RunTurnRequest, options?: CallOptions): AsyncIterable<RunTurnResponse>;
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
export class Resume {
  readonly #request: WatchSessionRequest | RunTurnRequest;
  // Everything up to here was given out; undefined: nothing yet, or a snapshot is on its way.
  #cursor: bigint | undefined;
  #uid = "";
  readonly #backoff = new Backoff();
  /** The turn that is run, as last told. */
  turn: Turn | undefined;
  done = false;
  /** Milliseconds of silence after which a stream is dead. */
  silenceMs = 3 * BOOKMARK_INTERVAL_MS;

  constructor(request: WatchSessionRequest | RunTurnRequest) {
    this.#request = request;
    this.#cursor = request.afterSequence;
    if (request.$typeName === "agentruntime.v1.WatchSessionRequest") {
      this.#uid = request.expectedUid;
      if (request.bookmarkInterval) {
        const { seconds, nanos } = request.bookmarkInterval;
        this.silenceMs = 3 * (Number(seconds) * 1000 + nanos / 1e6);
      }
    }
  }

  static watch(request: MessageInitShape<typeof WatchSessionRequestSchema>): Resume {
    return new Resume(create(WatchSessionRequestSchema, request));
  }

  /** Of a turn, the request id is what makes the second call go on with the first. */
  static turn(request: MessageInitShape<typeof RunTurnRequestSchema>): Resume {
    const copy = clone(RunTurnRequestSchema, create(RunTurnRequestSchema, request));
    copy.requestId ||= newRequestId();
    return new Resume(copy);
  }

  /** The events, over as many streams as it takes. */
  async *follow(streams: Streams, signal?: AbortSignal): AsyncGenerator<SessionEvent, void, undefined> {
    while (!this.done) {
      signal?.throwIfAborted();
      let failed: AgentRuntimeError | undefined;
      const hangUp = new AbortController();
      const forward = (): void => hangUp.abort(signal?.reason);
      signal?.addEventListener("abort", forward);
      let guard: ReturnType<typeof setTimeout> | undefined;
      let isSilent = false;
      const expect = (): void => {
        guard = setTimeout(() => {
          isSilent = true;
          hangUp.abort();
        }, this.silenceMs);
      };
      try {
        expect();
        for await (const response of this.#open(streams, { signal: hangUp.signal })) {
          // Only the server's silence counts, not the caller's.
          clearTimeout(guard);
          this.#take(response);
          for (const event of response.events) {
            this.#move(event);
            yield event;
            if (this.done) {
              return;
            }
          }
          expect();
        }
      } catch (failure) {
        signal?.throwIfAborted();
        failed = isSilent
          ? new AgentRuntimeError("the server has been silent for too long", Code.DeadlineExceeded)
          : AgentRuntimeError.of(failure);
      } finally {
        clearTimeout(guard);
        signal?.removeEventListener("abort", forward);
        hangUp.abort();
      }
      await sleep(this.#pause(failed), signal);
    }
  }

  #open(streams: Streams, options: CallOptions): AsyncIterable<WatchSessionResponse | RunTurnResponse> {
    if (this.#request.$typeName === "agentruntime.v1.WatchSessionRequest") {
      const request = clone(WatchSessionRequestSchema, this.#request);
      request.expectedUid = this.#cursor === undefined ? "" : this.#uid;
      return streams.watchSession(after(request, this.#cursor), options);
    }
    return streams.runTurn(after(clone(RunTurnRequestSchema, this.#request), this.#cursor), options);
  }

  #take(response: WatchSessionResponse | RunTurnResponse): void {
    this.#backoff.reset();
    if (response.$typeName === "agentruntime.v1.WatchSessionResponse") {
      this.#uid = response.uid || this.#uid;
    } else if (response.turn) {
      this.turn = response.turn;
      this.#cursor ??= response.sequence;
    }
  }

  /** Moves the cursor over the event, by the one rule of ranges. */
  #move(event: SessionEvent): void {
    switch (event.kind.case) {
      case "snapshotStart":
        this.#cursor = undefined;
        return;
      case "snapshotChunk":
        return;
      case "snapshotComplete":
        this.#cursor = event.sequence;
        return;
      default: {
        const first = event.firstSequence || event.sequence;
        // A bookmark may be empty.
        const end = event.kind.case === "bookmark" ? event.sequence + 1n : event.sequence;
        if (this.#cursor === undefined || first !== this.#cursor + 1n || end < first) {
          const told = `${first} to ${event.sequence} came after ${this.#cursor}`;
          throw new AgentRuntimeError(`the server broke the range rule: ${told}`, Code.DataLoss);
        }
        this.#cursor = event.sequence;
        this.done = this.#isLast(event);
      }
    }
  }

  #isLast({ kind }: SessionEvent): boolean {
    if (this.#request.$typeName === "agentruntime.v1.WatchSessionRequest") {
      return kind.case === "statusChanged" && kind.value.status === SessionStatus.DELETED;
    }
    if (kind.case !== "turnUpdated" || !this.turn || kind.value.turn?.turnId !== this.turn.turnId) {
      return false;
    }
    this.turn = kind.value.turn;
    return !WAITING.has(this.turn.status);
  }

  /** Milliseconds to wait before asking again; throws what asking again cannot help. Without an error it just ended. */
  #pause(error: AgentRuntimeError | undefined): number {
    if (error?.wantsSnapshot && this.#request.$typeName === "agentruntime.v1.WatchSessionRequest") {
      this.#cursor = undefined;
      this.#uid = "";
    } else if (error && !error.isTransient) {
      throw error;
    }
    return this.#backoff.next(error?.retryAfterMs);
  }
}

const WAITING = new Set([
  TurnStatus.UNSPECIFIED,
  TurnStatus.QUEUED,
  TurnStatus.RUNNING,
  TurnStatus.AWAITING_INPUT,
  TurnStatus.PARKED,
]);

function after<T extends { afterSequence?: bigint | undefined }>(request: T, cursor: bigint | undefined): T {
  if (cursor === undefined) {
    delete request.afterSequence;
  } else {
    request.afterSequence = cursor;
  }
  return request;
}

// The streams of the contract that go on: the one place that knows cursors, ranges and ends.

import { clone, create, type MessageInitShape } from "@bufbuild/protobuf";
import { type CallOptions, type Client, Code } from "@connectrpc/connect";

import { AgentRuntimeError } from "./error.js";
import type { SessionEvent } from "./gen/agentruntime/v1/event_pb.js";
import { type Session, SessionStatus, type Turn } from "./gen/agentruntime/v1/session_pb.js";
import {
  type RunTurnRequest,
  RunTurnRequestSchema,
  type RunTurnResponse,
  SessionChangeKind,
  type SessionService,
  type WatchSessionRequest,
  WatchSessionRequestSchema,
  type WatchSessionResponse,
  type WatchSessionsRequest,
  WatchSessionsRequestSchema,
  type WatchSessionsResponse,
} from "./gen/agentruntime/v1/session_service_pb.js";
import { newRequestId, Resume } from "./resume.js";

type Sessions = Client<typeof SessionService>;

/** A session's events, up to its deletion. */
export class Watch extends Resume<WatchSessionResponse, SessionEvent> {
  // Its after_sequence is the cursor: everything up to there was given out. Unset while a snapshot is on its way.
  readonly #request: WatchSessionRequest;

  constructor(readonly sessions: Sessions, request: MessageInitShape<typeof WatchSessionRequestSchema>) {
    super();
    this.#request = clone(WatchSessionRequestSchema, create(WatchSessionRequestSchema, request));
    if (this.#request.bookmarkInterval) {
      const { seconds, nanos } = this.#request.bookmarkInterval;
      this.silenceMs = 3 * (Number(seconds) * 1000 + nanos / 1e6);
    }
  }

  protected override open(options: CallOptions): AsyncIterable<WatchSessionResponse> {
    if (this.#request.afterSequence === undefined) {
      this.#request.expectedUid = "";
    }
    return this.sessions.watchSession(this.#request, options);
  }

  protected override *take({ uid, events }: WatchSessionResponse): Iterable<SessionEvent> {
    this.#request.expectedUid = uid || this.#request.expectedUid;
    for (const event of events) {
      move(this.#request, event);
      this.done = event.kind.case === "statusChanged" && event.kind.value.status === SessionStatus.DELETED;
      yield event;
    }
  }

  protected override startOver(reason: string): boolean {
    const isRefused = reason === "SEQUENCE_TRUNCATED" || reason === "SESSION_REPLACED";
    if (isRefused) {
      delete this.#request.afterSequence;
    }
    return isRefused;
  }
}

/** A message, and the events of its turn. */
export class Run extends Resume<RunTurnResponse, SessionEvent> {
  // Its after_sequence is the cursor, and its request_id what makes the second call go on with the first.
  readonly #request: RunTurnRequest;
  /** As last told. */
  turn: Turn | undefined;

  constructor(readonly sessions: Sessions, request: MessageInitShape<typeof RunTurnRequestSchema>) {
    super();
    this.#request = clone(RunTurnRequestSchema, create(RunTurnRequestSchema, request));
    this.#request.requestId ||= newRequestId();
  }

  protected override open(options: CallOptions): AsyncIterable<RunTurnResponse> {
    return this.sessions.runTurn(this.#request, options);
  }

  protected override *take({ turn, sequence, events }: RunTurnResponse): Iterable<SessionEvent> {
    if (turn) {
      this.turn = turn;
      this.#request.afterSequence ??= sequence;
    }
    for (const event of events) {
      move(this.#request, event);
      if (event.kind.case === "turnUpdated" && event.kind.value.turn?.turnId === this.turn?.turnId) {
        this.turn = event.kind.value.turn;
        this.done = this.turn?.endTime !== undefined;
      }
      yield event;
    }
  }
}

/** A list of sessions, newest first: as it is now, whenever it changed. */
export class List extends Resume<WatchSessionsResponse, Session[]> {
  // Its after_revision is the cursor: everything up to there is held. Unset while the whole list comes.
  readonly #request: WatchSessionsRequest;
  #held = new Map<string, Session>();
  #isWhole = false;

  constructor(readonly sessions: Sessions, request: MessageInitShape<typeof WatchSessionsRequestSchema>) {
    super();
    this.#request = clone(WatchSessionsRequestSchema, create(WatchSessionsRequestSchema, request));
    delete this.#request.afterRevision;
  }

  protected override open(options: CallOptions): AsyncIterable<WatchSessionsResponse> {
    if (this.#request.afterRevision === undefined) {
      // What was removed meanwhile is never told.
      [this.#held, this.#isWhole] = [new Map(), false];
    }
    return this.sessions.watchSessions(this.#request, options);
  }

  protected override *take({ changes, revision, synced }: WatchSessionsResponse): Iterable<Session[]> {
    for (const { kind, session } of changes) {
      if (session && kind === SessionChangeKind.REMOVED) {
        this.#held.delete(session.sessionId);
      } else if (session) {
        this.#held.set(session.sessionId, session);
      }
    }
    if (revision > 0n) {
      this.#request.afterRevision = revision;
    }
    const isNews = this.#isWhole ? changes.length > 0 : synced;
    this.#isWhole ||= synced;
    if (isNews) {
      yield [...this.#held.values()].sort(newestFirst);
    }
  }

  protected override startOver(reason: string): boolean {
    const isRefused = reason === "SEQUENCE_TRUNCATED" || reason === "SEQUENCE_AHEAD";
    if (isRefused) {
      delete this.#request.afterRevision;
    }
    return isRefused;
  }
}

/** Moves the cursor over the event, by the one rule of ranges. */
function move(request: { afterSequence?: bigint | undefined }, event: SessionEvent): void {
  switch (event.kind.case) {
    case "snapshotStart":
      delete request.afterSequence;
      return;
    case "snapshotChunk":
      return;
    case "snapshotComplete":
      request.afterSequence = event.sequence;
      return;
    default: {
      const cursor = request.afterSequence;
      const first = event.firstSequence || event.sequence;
      // A bookmark may be empty.
      const end = event.kind.case === "bookmark" ? event.sequence + 1n : event.sequence;
      if (cursor === undefined || first !== cursor + 1n || end < first) {
        const told = `${first} to ${event.sequence} came after ${cursor}`;
        throw new AgentRuntimeError(`the server broke the range rule: ${told}`, Code.DataLoss);
      }
      request.afterSequence = event.sequence;
    }
  }
}

/** As ListSessions has them. */
function newestFirst(a: Session, b: Session): number {
  const [left, right] = [a.createTime, b.createTime];
  const order = Number((right?.seconds ?? 0n) - (left?.seconds ?? 0n)) || (right?.nanos ?? 0) - (left?.nanos ?? 0);
  return order || (a.sessionId < b.sessionId ? 1 : -1);
}

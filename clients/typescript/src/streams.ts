// The streams of the contract that go on: the one place that knows cursors, ranges and ends.

import { clone, create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Client, Code } from "@connectrpc/connect";

import { AgentRuntimeError } from "./error.js";
import type { SessionEvent } from "./gen/agentruntime/v1/event_pb.js";
import { type Session, SessionStatus } from "./gen/agentruntime/v1/session_pb.js";
import {
  RunTurnRequestSchema,
  type RunTurnResponse,
  SessionChangeKind,
  type SessionService,
  WatchSessionRequestSchema,
  type WatchSessionResponse,
  WatchSessionsRequestSchema,
  type WatchSessionsResponse,
} from "./gen/agentruntime/v1/session_service_pb.js";
import type { Resumable } from "./resume.js";
import { named } from "./transport.js";

type Sessions = Client<typeof SessionService>;

/** A session's events, up to its deletion. */
export function watch(
  sessions: Sessions,
  init: MessageInitShape<typeof WatchSessionRequestSchema>,
  silenceMs: number,
): Resumable<WatchSessionResponse, SessionEvent> {
  // Its after_sequence is the cursor: everything up to there was given out. Unset while a snapshot is on its way.
  const request = clone(WatchSessionRequestSchema, create(WatchSessionRequestSchema, init));
  const { seconds, nanos } = request.bookmarkInterval ?? {};
  return {
    silenceMs: seconds === undefined ? silenceMs : 3 * (Number(seconds) * 1000 + (nanos ?? 0) / 1e6),
    open(options) {
      if (request.afterSequence === undefined) {
        request.expectedUid = "";
      }
      return sessions.watchSession(request, options);
    },
    *take({ uid, events }) {
      request.expectedUid = uid || request.expectedUid;
      for (const event of events) {
        move(request, event);
        yield event;
        if (event.kind.case === "statusChanged" && event.kind.value.status === SessionStatus.DELETED) {
          return true;
        }
      }
      return false;
    },
    cursor: () => request.afterSequence,
    asksOtherwise: ({ reason }) =>
      ["SEQUENCE_TRUNCATED", "SESSION_REPLACED"].includes(reason) && delete request.afterSequence,
  };
}

/** A message, and the events of its turn. */
export function run(
  sessions: Sessions,
  init: MessageInitShape<typeof RunTurnRequestSchema>,
  silenceMs: number,
): Resumable<RunTurnResponse | WatchSessionResponse, SessionEvent> {
  // Its after_sequence is the cursor, and its request_id what makes the second call go on with the first.
  const request = named(RunTurnRequestSchema, clone(RunTurnRequestSchema, create(RunTurnRequestSchema, init)));
  let turnId: string | undefined;
  // The server keeps the id for a day, and a turn may wait for an answer for longer: its rest is out of the session's events.
  let isForgotten = false;
  const others = new Set<string>();
  return {
    silenceMs,
    open(options) {
      const { sessionId, afterSequence, omitDeltas } = request;
      return isForgotten
        ? sessions.watchSession({ sessionId, omitDeltas, ...(afterSequence !== undefined && { afterSequence }) }, options)
        : sessions.runTurn(request, options);
    },
    *take(response) {
      if ("turn" in response && response.turn) {
        turnId = response.turn.turnId;
        request.afterSequence ??= response.sequence;
      }
      for (const event of response.events) {
        move(request, event);
        if (isForgotten && isOfOther(event, turnId, others)) {
          continue;
        }
        yield event;
        const updated = event.kind.case === "turnUpdated" ? event.kind.value.turn : undefined;
        if (updated?.endTime && updated.turnId === turnId) {
          return true;
        }
      }
      return false;
    },
    cursor: () => request.afterSequence,
    asksOtherwise({ reason, fieldViolations }) {
      const refused = reason === "INVALID_FIELD" && fieldViolations.some(({ field }) => field === "after_sequence");
      const isNews = refused && turnId !== undefined && !isForgotten;
      isForgotten ||= isNews;
      return isNews;
    },
  };
}

/** Whether an event is of another turn. What follows of a block does not name its turn: the others' blocks are kept. */
function isOfOther({ kind: { case: kind, value } }: SessionEvent, turnId: string | undefined, others: Set<string>): boolean {
  switch (kind) {
    case "blockStart":
    case "blockComplete":
      if (value.block?.turnId && value.block.turnId !== turnId) {
        others.add(value.block.blockId);
      }
      return others.has(value.block?.blockId ?? "");
    case "blockDelta":
    case "blockUpdate":
      return others.has(value.blockId);
    case "turnQueued":
    case "turnUpdated":
      return value.turn?.turnId !== turnId;
    case "permissionRequested":
      return value.permission?.turnId !== turnId;
    case "questionRequested":
      return value.question?.turnId !== turnId;
    default:
      return false;
  }
}

/** A list of sessions, newest first: as it is now, whenever it changed. */
export function list(
  sessions: Sessions,
  init: MessageInitShape<typeof WatchSessionsRequestSchema>,
  silenceMs: number,
): Resumable<WatchSessionsResponse, Session[]> {
  // Its after_revision is the cursor: everything up to there is held. Unset while the whole list comes.
  const request = clone(WatchSessionsRequestSchema, create(WatchSessionsRequestSchema, init));
  delete request.afterRevision;
  const held = new Map<string, Session>();
  let isWhole = false;
  return {
    silenceMs,
    open(options) {
      if (request.afterRevision === undefined) {
        // What was removed meanwhile is never told.
        held.clear();
        isWhole = false;
      }
      return sessions.watchSessions(request, options);
    },
    *take({ changes, revision, synced }) {
      for (const { kind, session } of changes) {
        if (session && kind === SessionChangeKind.REMOVED) {
          held.delete(session.sessionId);
        } else if (session) {
          held.set(session.sessionId, session);
        }
      }
      if (revision > 0n) {
        request.afterRevision = revision;
      }
      const isNews = isWhole ? changes.length > 0 : synced;
      isWhole ||= synced;
      if (isNews) {
        yield [...held.values()].sort(newestFirst);
      }
      return false;
    },
    cursor: () => request.afterRevision,
    asksOtherwise: ({ reason }) => ["SEQUENCE_TRUNCATED", "SEQUENCE_AHEAD"].includes(reason) && delete request.afterRevision,
  };
}

/** Moves the cursor over the event, by the one rule of ranges. */
function move(request: { afterSequence?: bigint | undefined }, event: SessionEvent): void {
  const { sequence, kind } = event;
  if (kind.case === "snapshotStart") {
    delete request.afterSequence;
  } else if (kind.case === "snapshotComplete") {
    request.afterSequence = sequence;
  } else if (kind.case !== "snapshotChunk") {
    const [cursor, first] = [request.afterSequence, event.firstSequence || sequence];
    // A bookmark may be empty.
    const end = kind.case === "bookmark" ? sequence + 1n : sequence;
    if (cursor === undefined || first !== cursor + 1n || end < first) {
      const told = `${first} to ${sequence} came after ${cursor}`;
      throw new AgentRuntimeError(`the server broke the range rule: ${told}`, Code.DataLoss);
    }
    request.afterSequence = sequence;
  }
}

/** As ListSessions has them. */
function newestFirst(a: Session, b: Session): number {
  const [left, right] = [a.createTime, b.createTime];
  const order = Number((right?.seconds ?? 0n) - (left?.seconds ?? 0n)) || (right?.nanos ?? 0) - (left?.nanos ?? 0);
  return order || (a.sessionId < b.sessionId ? 1 : -1);
}

// The one error of the client: what the server said, decoded.

import { BinaryReader } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";

import { ErrorReason } from "./gen/agentruntime/v1/error_reason_pb.js";
import { type Turn, TurnStatus } from "./gen/agentruntime/v1/session_pb.js";

/** A field that was refused: its path in the request, and what is wrong with it. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

/** Why a call, a stream or a turn failed. Branch on `reason`; `code` and `rawMessage` are as Connect has them. */
export class AgentRuntimeError extends ConnectError {
  // Connect knows its own errors by their name, which stays; this one is known by its prototype.
  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === "object" && value !== null && Object.prototype.isPrototypeOf.call(this.prototype, value);
  }

  /** As `ErrorReason` spells it, without its prefix; empty when the answer is not the server's own. */
  reason = "";
  /** What the reason tells beside itself; `ErrorReason` has the keys. */
  info: Readonly<Record<string, string>> = {};
  fieldViolations: readonly FieldViolation[] = [];
  /** Milliseconds that the server wants to be left alone. */
  retryAfterMs: number | undefined;

  /** Whether the same call, made again, may succeed: the server says so, or it was the connection that failed. */
  get isTransient(): boolean {
    if (this.retryAfterMs !== undefined || this.reason === "RATE_LIMITED" || this.reason === "TOO_MANY_WATCHERS") {
      return true;
    }
    return this.reason === "" ? CUT.has(this.code) : this.code === Code.Unavailable;
  }

  /** What a failed call tells. */
  static of(failure: unknown): AgentRuntimeError {
    if (failure instanceof AgentRuntimeError) {
      return failure;
    }
    const told = ConnectError.from(failure);
    // A connection that was reset is ABORTED to Connect in Node.js; the server never says so without a reason.
    const code = told.code === Code.Aborted && told.details.length === 0 ? Code.Unavailable : told.code;
    const error = new AgentRuntimeError(told.rawMessage, code, told.metadata, undefined, told.cause ?? failure);
    error.details = told.details;
    for (const detail of told.details) {
      if (!("type" in detail)) {
        continue;
      }
      if (detail.type === "google.rpc.ErrorInfo") {
        const info = fields(detail.value);
        error.reason = text(info, 1);
        error.info = Object.fromEntries((info[3] ?? []).map(fields).map((entry) => [text(entry, 1), text(entry, 2)]));
      } else if (detail.type === "google.rpc.BadRequest") {
        const violations = (fields(detail.value)[1] ?? []).map(fields);
        error.fieldViolations = violations.map((bad) => ({ field: text(bad, 1), description: text(bad, 2) }));
      } else if (detail.type === "google.rpc.RetryInfo") {
        const delay = fields(fields(detail.value)[1]?.[0] ?? new Uint8Array());
        error.retryAfterMs = number(delay, 1) * 1000 + number(delay, 2) / 1e6;
      }
    }
    return error;
  }

  /** Why a turn did not complete. */
  static ofTurn(turn: Turn): AgentRuntimeError {
    const ended = `the turn ended as ${TurnStatus[turn.status] ?? turn.status}`;
    const error = new AgentRuntimeError(turn.error?.message ? `${ended}: ${turn.error.message}` : ended, Code.Aborted);
    error.reason = turn.error?.reason ? (ErrorReason[turn.error.reason] ?? "") : "";
    error.info = turn.error?.metadata ?? {};
    return error;
  }
}

const CUT = new Set([Code.Unavailable, Code.Unknown, Code.Internal, Code.Canceled, Code.DeadlineExceeded]);

// google.rpc's details are four small messages; reading them takes less than shipping their descriptors.
type Fields = Record<number, Uint8Array[]>;

function fields(bytes: Uint8Array): Fields {
  const found: Fields = {};
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const start = reader.pos;
    if (type === 2) {
      (found[number] ??= []).push(reader.bytes());
    } else {
      reader.skip(type, number);
      (found[number] ??= []).push(bytes.subarray(start, reader.pos));
    }
  }
  return found;
}

function text(message: Fields, number: number): string {
  return new TextDecoder().decode(message[number]?.[0]);
}

function number(message: Fields, number: number): number {
  const bytes = message[number]?.[0];
  return bytes ? Number(new BinaryReader(bytes).int64()) : 0;
}

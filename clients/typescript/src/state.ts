// The fold: a session's state out of its events, by the "Fold:" lines of the contract.

import { clone, create, type DescMessage, isFieldSet, mergeFromBinary, toBinary } from "@bufbuild/protobuf";

import { type Block, BlockSchema } from "./gen/agentruntime/v1/block_pb.js";
import { type BlockDelta, type BlockUpdate, BlockUpdateSchema, type SessionEvent } from "./gen/agentruntime/v1/event_pb.js";
import type { InputResolution, PermissionRequest, Question } from "./gen/agentruntime/v1/permission_pb.js";
import { type Session, SessionSchema, type Turn, TurnStatus } from "./gen/agentruntime/v1/session_pb.js";
import { type SessionState, SessionStateSchema } from "./gen/agentruntime/v1/state_pb.js";
import { type FileChange, FileChangeKind, type WorkspaceFile } from "./gen/agentruntime/v1/workspace_pb.js";

const ACTIVE = new Set([TurnStatus.RUNNING, TurnStatus.AWAITING_INPUT, TurnStatus.PARKED]);
const utf8 = new TextEncoder();
// A byte order mark inside a text is a character like any other.
const fromUtf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** What there is to show of a session. */
export class State {
  /** As the contract has it. It changes as events are applied; `clone` what is to be kept. */
  value: SessionState = create(SessionStateSchema);
  // UTF-8 bytes that growing blocks hold; text is counted once, not at every delta.
  readonly #held = new Map<string, number>();

  /** The block of that id, as it is now. */
  block(id: string): Block | undefined {
    return this.value.blocks[last(this.value.blocks, "blockId", id)];
  }

  /** Folds one event in, and returns the block that it is about. */
  apply({ kind, sequence, eventTime }: SessionEvent): Block | undefined {
    if (kind.case === "sessionCreated" || kind.case === "snapshotStart") {
      this.value = create(SessionStateSchema);
      this.#held.clear();
    }
    const state = this.value;
    if (kind.case === "sessionCreated" && kind.value.session) {
      state.session = clone(SessionSchema, kind.value.session);
      state.session.oldestSequence = 0n;
    } else if (kind.case === "snapshotChunk" && kind.value.state) {
      mergeFromBinary(SessionStateSchema, state, toBinary(SessionStateSchema, kind.value.state));
    }
    // What is told of a session that is not there goes nowhere.
    const session = state.session ?? create(SessionSchema);
    let block: Block | undefined;
    switch (kind.case) {
      case "blockStart":
      case "blockComplete":
        if (kind.value.block) {
          block = clone(BlockSchema, kind.value.block);
          this.#held.delete(block.blockId);
          put(state.blocks, "blockId", block);
        }
        break;
      case "blockDelta":
        block = this.block(kind.value.blockId);
        this.#grow(block, kind.value);
        break;
      case "blockUpdate":
        block = this.block(kind.value.blockId);
        this.#held.delete(kind.value.blockId);
        patch(block, kind.value);
        break;
      case "turnQueued":
      case "turnUpdated":
        put(state.turns, "turnId", kind.value.turn);
        followTurns(session, state.turns);
        break;
      case "conversationUpdated":
        put(state.conversations, "conversationId", kind.value.conversation);
        session.usage = kind.value.sessionUsage;
        break;
      case "sessionUpdated": {
        const { name, labels, metadata, options, etag } = kind.value;
        Object.assign(session, { name, labels, metadata, options, etag });
        break;
      }
      case "statusChanged":
        session.status = kind.value.status;
        session.error = kind.value.error;
        break;
      case "sandboxChanged":
        session.sandbox = kind.value.sandbox;
        break;
      case "permissionRequested":
        put(state.permissions, "permissionId", kind.value.permission);
        break;
      case "permissionResolved":
        resolve(state.permissions, "permissionId", kind.value.permissionId, kind.value.resolution);
        break;
      case "permissionRulesChanged":
        state.permissionRules = [...kind.value.rules];
        break;
      case "questionRequested":
        put(state.questions, "questionId", kind.value.question);
        break;
      case "questionResolved":
        resolve(state.questions, "questionId", kind.value.questionId, kind.value.resolution);
        break;
      case "filesChanged":
        kind.value.changes.forEach((change) => applyChange(state.files, change));
        break;
      default:
      // History, frames that only move the cursor, and kinds newer than this client.
    }
    if (sequence > 0n) {
      session.sequence = sequence;
      session.lastActivityTime = kind.case === "bookmark" ? session.lastActivityTime : eventTime;
    }
    return block;
  }

  /** Appends what the block does not hold yet. Offsets are UTF-8 bytes, and strings are not. */
  #grow(block: Block | undefined, { blockId, delta, offset }: BlockDelta): void {
    const text = block && growing(block);
    if (!text) {
      return;
    }
    const held = this.#held.get(blockId) ?? utf8.encode(text.get()).length;
    const bytes = utf8.encode(delta);
    const start = Number(offset);
    if (start <= held && held < start + bytes.length) {
      // Both ends are whole characters, so the cut is one.
      text.set(text.get() + (start === held ? delta : fromUtf8.decode(bytes.subarray(held - start))));
      this.#held.set(blockId, start + bytes.length);
    }
  }
}

/** Replaces the namesake of each set field, in the block or in its content. */
function patch(block: Block | undefined, update: BlockUpdate): void {
  const { case: kind, value } = block?.content ?? {};
  const content = kind && BlockSchema.field[kind].message;
  for (const field of BlockUpdateSchema.fields) {
    for (const [desc, target] of [[BlockSchema as DescMessage, block], [content, value]] as const) {
      if (target && desc?.field[field.localName] && field.name !== "block_id" && isFieldSet(update, field)) {
        Object.assign(target, { [field.localName]: update[field.localName as keyof BlockUpdate] });
      }
    }
  }
}

/** The text of a block that grows by deltas. */
function growing({ content }: Block): { get: () => string; set: (text: string) => void } | undefined {
  switch (content.case) {
    case "assistantText":
    case "thinking":
      return { get: () => content.value.text, set: (text) => (content.value.text = text) };
    case "toolUse":
      return { get: () => content.value.inputJson, set: (text) => (content.value.inputJson = text) };
    case "toolResult": {
      const result = content.value;
      if (result.output.case !== undefined && result.output.case !== "text") {
        return undefined;
      }
      const output = result.output;
      return { get: () => output.value ?? "", set: (value) => (result.output = { case: "text", value }) };
    }
    default:
      return undefined;
  }
}

function followTurns(session: Session, turns: Turn[]): void {
  session.activeTurn = turns.find((turn) => ACTIVE.has(turn.status));
  const queued = turns.filter((turn) => turn.status === TurnStatus.QUEUED);
  // The newest of those that go first goes before the others.
  const first = queued.filter((turn) => turn.goesFirst).reverse();
  session.queuedTurns = [...first, ...queued.filter((turn) => !turn.goesFirst)];
}

/** Where the item with this id is, or -1. What changes is nearly always among the newest. */
function last<T>(items: T[], key: keyof T, id: unknown): number {
  let at = items.length - 1;
  while (at >= 0 && items[at]?.[key] !== id) {
    at--;
  }
  return at;
}

/** `items[id] = item`: replaces, or adds at the end. */
function put<T>(items: T[], key: keyof T, item: T | undefined): void {
  if (item) {
    const at = last(items, key, item[key]);
    items[at < 0 ? items.length : at] = item;
  }
}

/** `items[id].resolution = resolution`. */
function resolve<T extends PermissionRequest | Question>(
  items: T[],
  key: keyof T,
  id: string,
  resolution: InputResolution | undefined,
): void {
  const at = last(items, key, id);
  const asked = items[at];
  if (asked) {
    // The one that is held belongs to the event that brought it.
    items[at] = { ...asked, resolution };
  }
}

function applyChange(files: WorkspaceFile[], { kind, file, previousPath }: FileChange): void {
  if (!file) {
    return;
  }
  for (const gone of kind === FileChangeKind.RENAMED ? [previousPath, file.path] : [file.path]) {
    const at = place(files, gone);
    if (files[at]?.path === gone) {
      files.splice(at, 1);
    }
  }
  if (kind !== FileChangeKind.DELETED) {
    files.splice(place(files, file.path), 0, file);
  }
}

/** The first place whose path is not before this one. */
function place(files: WorkspaceFile[], path: string): number {
  let [low, high] = [0, files.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBefore(files[middle]?.path ?? "", path)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/** By UTF-8 bytes, which is the order of code points and not that of strings. */
function isBefore(a: string, b: string): boolean {
  let at = 0;
  while (at < a.length && a[at] === b[at]) {
    at++;
  }
  return (a.codePointAt(at) ?? -1) < (b.codePointAt(at) ?? -1);
}

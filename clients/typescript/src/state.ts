// The fold: a session's state out of its events, by the "Fold:" lines of the contract.

import { clone, create, type DescMessage, isFieldSet, type Message, mergeFromBinary, toBinary } from "@bufbuild/protobuf";

import { type Block, BlockSchema } from "./gen/agentruntime/v1/block_pb.js";
import { type BlockDelta, type BlockUpdate, BlockUpdateSchema, type SessionEvent } from "./gen/agentruntime/v1/event_pb.js";
import { type InputResolution, PermissionRequestSchema, QuestionSchema } from "./gen/agentruntime/v1/permission_pb.js";
import { type Session, SessionSchema, type Turn, TurnStatus } from "./gen/agentruntime/v1/session_pb.js";
import { type SessionState, SessionStateSchema } from "./gen/agentruntime/v1/state_pb.js";
import { type FileChange, FileChangeKind, type WorkspaceFile } from "./gen/agentruntime/v1/workspace_pb.js";

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

  /** Folds one event in. */
  apply(event: SessionEvent): void {
    const { kind } = event;
    const state = this.value;
    switch (kind.case) {
      case "blockStart":
      case "blockComplete":
        if (kind.value.block) {
          const block = clone(BlockSchema, kind.value.block);
          this.#held.delete(block.blockId);
          put(state.blocks, block, "blockId");
        }
        break;
      case "blockDelta":
        this.#grow(kind.value);
        break;
      case "blockUpdate":
        this.#patch(kind.value);
        break;
      case "turnQueued":
      case "turnUpdated":
        this.#putTurn(kind.value.turn);
        break;
      case "conversationUpdated": {
        const { conversation, sessionUsage } = kind.value;
        if (conversation) {
          put(state.conversations, conversation, "conversationId");
        }
        this.#session((session) => replace(session, "usage", sessionUsage));
        break;
      }
      case "sessionCreated":
        this.#forget();
        if (kind.value.session) {
          this.value.session = clone(SessionSchema, kind.value.session);
          this.value.session.oldestSequence = 0n;
        }
        break;
      case "sessionUpdated": {
        const { name, labels, metadata, options, etag } = kind.value;
        this.#session((session) => {
          session.name = name;
          session.labels = labels;
          session.etag = etag;
          replace(session, "metadata", metadata);
          replace(session, "options", options);
        });
        break;
      }
      case "statusChanged": {
        const { status, error } = kind.value;
        this.#session((session) => {
          session.status = status;
          replace(session, "error", error);
        });
        break;
      }
      case "sandboxChanged": {
        const { sandbox } = kind.value;
        this.#session((session) => replace(session, "sandbox", sandbox));
        break;
      }
      case "permissionRequested":
        if (kind.value.permission) {
          const asked = clone(PermissionRequestSchema, kind.value.permission);
          put(state.permissions, asked, "permissionId");
        }
        break;
      case "permissionResolved": {
        const { permissionId, resolution } = kind.value;
        resolve(state.permissions, "permissionId", permissionId, resolution);
        break;
      }
      case "permissionRulesChanged":
        state.permissionRules = [...kind.value.rules];
        break;
      case "questionRequested":
        if (kind.value.question) {
          const asked = clone(QuestionSchema, kind.value.question);
          put(state.questions, asked, "questionId");
        }
        break;
      case "questionResolved": {
        const { questionId, resolution } = kind.value;
        resolve(state.questions, "questionId", questionId, resolution);
        break;
      }
      case "filesChanged":
        for (const change of kind.value.changes) {
          applyChange(state.files, change);
        }
        break;
      case "snapshotStart":
        this.#forget();
        break;
      case "snapshotChunk":
        if (kind.value.state) {
          mergeFromBinary(SessionStateSchema, state, toBinary(SessionStateSchema, kind.value.state));
        }
        break;
      default:
      // History, frames that only move the cursor, and kinds newer than this client.
    }
    if (event.sequence > 0n) {
      this.#session((session) => {
        session.sequence = event.sequence;
        if (kind.case !== "bookmark") {
          replace(session, "lastActivityTime", event.eventTime);
        }
      });
    }
  }

  #forget(): void {
    this.value = create(SessionStateSchema);
    this.#held.clear();
  }

  #session(change: (session: Session) => void): void {
    if (this.value.session) {
      change(this.value.session);
    }
  }

  #putTurn(turn: Turn | undefined): void {
    if (!turn) {
      return;
    }
    const { turns } = this.value;
    put(turns, turn, "turnId");
    this.#session((session) => {
      replace(session, "activeTurn", turns.find(isActive));
      const queued = turns.filter((held) => held.status === TurnStatus.QUEUED);
      // The newest of those that go first goes before the others.
      const first = queued.filter((held) => held.goesFirst).reverse();
      session.queuedTurns = [...first, ...queued.filter((held) => !held.goesFirst)];
    });
  }

  /** Appends what the block does not hold yet. Offsets are UTF-8 bytes, and strings are not. */
  #grow({ blockId, delta, offset }: BlockDelta): void {
    const block = this.block(blockId);
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

  #patch(update: BlockUpdate): void {
    const block = this.block(update.blockId);
    if (!block) {
      return;
    }
    this.#held.delete(update.blockId);
    const targets: [DescMessage, Message][] = [[BlockSchema, block]];
    if (block.content.case) {
      const content = BlockSchema.field[block.content.case].message;
      if (content) {
        targets.push([content, block.content.value]);
      }
    }
    for (const field of BlockUpdateSchema.fields) {
      for (const [desc, target] of targets) {
        if (field.name !== "block_id" && isFieldSet(update, field) && desc.field[field.localName]) {
          Object.assign(target, { [field.localName]: update[field.localName as keyof BlockUpdate] });
        }
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

function isActive({ status }: Turn): boolean {
  return status === TurnStatus.RUNNING || status === TurnStatus.AWAITING_INPUT || status === TurnStatus.PARKED;
}

/** Sets a field, or leaves it unset as it is at its source. */
function replace<T, K extends keyof T>(target: T, field: K, value: T[K] | undefined): void {
  if (value === undefined) {
    delete target[field];
  } else {
    target[field] = value;
  }
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
function put<T>(items: T[], item: T, key: keyof T): void {
  const at = last(items, key, item[key]);
  items[at < 0 ? items.length : at] = item;
}

/** `items[id].resolution = resolution`. */
function resolve<T extends { resolution?: InputResolution | undefined }>(
  items: T[],
  key: keyof T,
  id: string,
  resolution: InputResolution | undefined,
): void {
  const asked = items[last(items, key, id)];
  if (asked) {
    replace(asked, "resolution", resolution);
  }
}

function applyChange(files: WorkspaceFile[], { kind, file, previousPath }: FileChange): void {
  if (!file) {
    return;
  }
  if (kind === FileChangeKind.DELETED || kind === FileChangeKind.RENAMED) {
    const gone = kind === FileChangeKind.DELETED ? file.path : previousPath;
    const at = place(files, gone);
    if (files[at]?.path === gone) {
      files.splice(at, 1);
    }
  }
  if (kind !== FileChangeKind.DELETED) {
    const at = place(files, file.path);
    files.splice(at, files[at]?.path === file.path ? 1 : 0, file);
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

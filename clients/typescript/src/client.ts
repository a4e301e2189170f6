// The client over any transport. What differs between Node.js and browsers stands in `node` and `web`.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Client as ServiceClient, createClient, type Transport } from "@connectrpc/connect";

import { AgentRuntimeError } from "./error.js";
import type { Block } from "./gen/agentruntime/v1/block_pb.js";
import type { SessionEvent } from "./gen/agentruntime/v1/event_pb.js";
import { ProfileService } from "./gen/agentruntime/v1/profile_service_pb.js";
import { RuntimeService } from "./gen/agentruntime/v1/runtime_service_pb.js";
import { type Session, TurnStatus } from "./gen/agentruntime/v1/session_pb.js";
import {
  type ListBlocksRequestSchema,
  type ListSessionsRequestSchema,
  type ReadBlobRequestSchema,
  type RunTurnRequestSchema,
  SessionService,
  type WatchSessionRequestSchema,
  type WatchSessionsRequestSchema,
} from "./gen/agentruntime/v1/session_service_pb.js";
import type { WorkspaceFile } from "./gen/agentruntime/v1/workspace_pb.js";
import {
  type ListFilesRequestSchema,
  type ReadFileRequestSchema,
  UploadFileHeaderSchema,
  type UploadFileRequestSchema,
  type UploadFileResponse,
  WorkspaceService,
} from "./gen/agentruntime/v1/workspace_service_pb.js";
import { newRequestId, type Options } from "./resume.js";
import { State } from "./state.js";
import { List, Run, Watch } from "./streams.js";
import { again, reliable } from "./transport.js";

// The most that one request of an upload carries.
const PIECE = 1 << 20;

/** A connection to a server. */
export class Client {
  /** Every call of the contract, by its name. Those with one answer are made again while what went wrong may pass. */
  readonly sessions: ServiceClient<typeof SessionService>;
  readonly workspaces: ServiceClient<typeof WorkspaceService>;
  readonly profiles: ServiceClient<typeof ProfileService>;
  readonly runtime: ServiceClient<typeof RuntimeService>;
  /** Ends the connection, and what goes on over it. */
  readonly close: () => void;

  /** Over any transport of Connect's that speaks gRPC or grpc-web, and what drops its connection; `connect` makes one. */
  constructor(base: Transport, key = "", disconnect: () => void = () => {}) {
    const { transport, close } = reliable(base, key, disconnect);
    this.sessions = createClient(SessionService, transport);
    this.workspaces = createClient(WorkspaceService, transport);
    this.profiles = createClient(ProfileService, transport);
    this.runtime = createClient(RuntimeService, transport);
    this.close = close;
  }

  /**
   * Streams a session: everything after a sequence, or a snapshot first; then live, until it is deleted. Survives cut
   * connections, silence and restarts of the server. If the log no longer reaches back to the cursor, a snapshot comes.
   */
  watch(request: MessageInitShape<typeof WatchSessionRequestSchema>, options?: Options): AsyncGenerator<SessionEvent, void> {
    return new Watch(this.sessions, request).follow(options);
  }

  /**
   * All sessions that match, newest first: as they are now, and again whenever that changed. Survives what `watch` does, and
   * keeps the revision itself.
   */
  watchSessions(
    request: MessageInitShape<typeof WatchSessionsRequestSchema> = {},
    options?: Options,
  ): AsyncGenerator<Session[], void> {
    return new List(this.sessions, request).follow(options);
  }

  /** Gives the agent a message, once, and streams its turn up to its end. Hanging up does not cancel it. */
  runTurn(request: MessageInitShape<typeof RunTurnRequestSchema>, options?: Options): AsyncGenerator<SessionEvent, void> {
    return new Run(this.sessions, request).follow(options);
  }

  /**
   * Gives the agent a message and yields each block of its turn whenever it changed, as it is then: it goes on changing, so
   * `clone` what is to be kept. Throws an `AgentRuntimeError` if the turn does not complete.
   */
  run(sessionId: string, text: string, options?: Options): AsyncGenerator<Block, void> {
    return this.#run(new Run(this.sessions, { sessionId, text }), options);
  }

  /**
   * Gives the agent a message and returns what it writes to the user, with a blank line between two blocks. Throws an
   * `AgentRuntimeError` if the turn does not complete.
   */
  async ask(sessionId: string, text: string, options?: Options): Promise<string> {
    const blocks = new Map<string, Block>();
    for await (const block of this.#run(new Run(this.sessions, { sessionId, text, omitDeltas: true }), options)) {
      if (block.content.case === "assistantText" && block.conversationId === "main") {
        blocks.set(block.blockId, block);
      }
    }
    return (await Promise.all(Array.from(blocks.values(), (block) => this.text(sessionId, block, options)))).join("\n\n");
  }

  /** The whole text of a block that the agent wrote, also what was too long to be inline. */
  async text(sessionId: string, block: Block, options?: Options): Promise<string> {
    const { case: kind, value } = block.content;
    if (block.truncatedBytes === 0n) {
      return kind === "assistantText" || kind === "thinking" ? value.text : "";
    }
    const pieces = this.sessions.readBlockContent({ sessionId, blockId: block.blockId }, options);
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(await joined(data(pieces)));
  }

  /** All sessions that match, newest first. */
  listSessions(request: MessageInitShape<typeof ListSessionsRequestSchema> = {}, options?: Options): AsyncGenerator<Session, void> {
    return pages((pageToken) => this.sessions.listSessions({ ...request, pageToken }, options), (page) => page.sessions);
  }

  /** All blocks of a conversation. */
  blocks(request: MessageInitShape<typeof ListBlocksRequestSchema>, options?: Options): AsyncGenerator<Block, void> {
    return pages((pageToken) => this.sessions.listBlocks({ ...request, pageToken }, options), (page) => page.blocks);
  }

  /** All files of a workspace, or of a folder, by path. */
  files(request: MessageInitShape<typeof ListFilesRequestSchema>, options?: Options): AsyncGenerator<WorkspaceFile, void> {
    return pages((pageToken) => this.workspaces.listFiles({ ...request, pageToken }, options), (page) => page.files);
  }

  /** The bytes of a file. `workspaces.readFile` streams them. */
  async readFile(request: MessageInitShape<typeof ReadFileRequestSchema>, options?: Options): Promise<Uint8Array> {
    return joined(data(this.workspaces.readFile(request, options)));
  }

  /** The bytes that a session names by hash: images, attachments. `sessions.readBlob` streams them. */
  async readBlob(request: MessageInitShape<typeof ReadBlobRequestSchema>, options?: Options): Promise<Uint8Array> {
    return joined(data(this.sessions.readBlob(request, options)));
  }

  /**
   * Writes a file of any size, or unpacks an archive, all or nothing. If the call has to be made again, `source` is asked
   * again. Not in browsers: they send no streams, and have `workspaces.writeFile`, up to 1 MiB.
   */
  uploadFile(
    header: MessageInitShape<typeof UploadFileHeaderSchema>,
    source: Uint8Array | (() => AsyncIterable<Uint8Array>),
    options?: Options,
  ): Promise<UploadFileResponse> {
    const named = create(UploadFileHeaderSchema, { ...header, requestId: header.requestId || newRequestId() });
    const broken = new AbortController();
    const signal = AbortSignal.any([broken.signal, ...(options?.signal ? [options.signal] : [])]);
    async function* requests(): AsyncGenerator<MessageInitShape<typeof UploadFileRequestSchema>> {
      yield { payload: { case: "header", value: named } };
      try {
        for await (const bytes of source instanceof Uint8Array ? [source] : source()) {
          for (let at = 0; at < bytes.length; at += PIECE) {
            signal.throwIfAborted();
            yield { payload: { case: "data", value: bytes.subarray(at, at + PIECE) } };
          }
        }
        signal.throwIfAborted();
      } catch (why) {
        // Node.js ends a stream that is cancelled as if it were whole, so what is broken has to say so: a second header is
        // refused, and with it all that came.
        broken.abort(why);
        yield { payload: { case: "header", value: named } };
      }
    }
    return again(() => this.workspaces.uploadFile(requests()), signal).catch((failure: unknown) => {
      throw broken.signal.aborted ? broken.signal.reason : failure;
    });
  }

  async *#run(run: Run, options?: Options): AsyncGenerator<Block, void, undefined> {
    const state = new State();
    for await (const event of run.follow(options)) {
      state.apply(event);
      const { kind } = event;
      let id: string | undefined;
      if (kind.case === "blockStart" || kind.case === "blockComplete") {
        id = kind.value.block?.blockId;
      } else if (kind.case === "blockDelta" || kind.case === "blockUpdate") {
        id = kind.value.blockId;
      }
      const block = id === undefined ? undefined : state.block(id);
      if (block) {
        yield block;
      }
    }
    if (run.turn && run.turn.status !== TurnStatus.COMPLETED) {
      throw AgentRuntimeError.ofTurn(run.turn);
    }
  }
}

async function* pages<P extends { nextPageToken: string }, T>(
  get: (pageToken: string) => Promise<P>,
  items: (page: P) => T[],
): AsyncGenerator<T, void, undefined> {
  let token = "";
  do {
    const page = await get(token);
    yield* items(page);
    token = page.nextPageToken;
  } while (token !== "");
}

type Payload = { case: "data"; value: Uint8Array } | { case: string | undefined; value?: unknown };
type Piece = { data: Uint8Array } | { payload: Payload };

async function* data(pieces: AsyncIterable<Piece>): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const piece of pieces) {
    if ("data" in piece) {
      yield piece.data;
    } else if (piece.payload.case === "data" && piece.payload.value instanceof Uint8Array) {
      yield piece.payload.value;
    }
  }
}

async function joined(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const list: Uint8Array[] = [];
  for await (const piece of pieces) {
    list.push(piece);
  }
  const whole = new Uint8Array(list.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of list) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}


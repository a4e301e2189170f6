// The client over any transport. What differs between Node.js and browsers stands in `node` and `web`.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { type CallOptions, type Client as ServiceClient, createClient, type Transport } from "@connectrpc/connect";

import { AgentRuntimeError } from "./error.js";
import { bytesOf, upload } from "./files.js";
import type { Block } from "./gen/agentruntime/v1/block_pb.js";
import type { SessionEvent } from "./gen/agentruntime/v1/event_pb.js";
import { ProfileService } from "./gen/agentruntime/v1/profile_service_pb.js";
import { RuntimeService } from "./gen/agentruntime/v1/runtime_service_pb.js";
import { type Session, type Turn, TurnStatus } from "./gen/agentruntime/v1/session_pb.js";
import {
  type RunTurnRequestSchema,
  SessionService,
  type WatchSessionRequestSchema,
  type WatchSessionsRequestSchema,
} from "./gen/agentruntime/v1/session_service_pb.js";
import {
  type UploadFileHeaderSchema,
  type UploadFileResponse,
  WorkspaceService,
} from "./gen/agentruntime/v1/workspace_service_pb.js";
import { follow, type Options } from "./resume.js";
import { wordsOf } from "./show.js";
import { State } from "./state.js";
import { list, run, watch } from "./streams.js";
import { type Connections, reliable } from "./transport.js";

/** A connection to a server. */
export class Client {
  /** Every call of the contract, by its name. Those with one answer are made again while what went wrong may pass. */
  readonly sessions: ServiceClient<typeof SessionService>;
  readonly workspaces: ServiceClient<typeof WorkspaceService>;
  readonly profiles: ServiceClient<typeof ProfileService>;
  readonly runtime: ServiceClient<typeof RuntimeService>;
  /** Ends the connection, and what goes on over it. */
  readonly close: () => void;
  /**
   * Milliseconds of silence after which a stream is opened again: three times the server's own longest silence.
   *
   * @internal
   */
  silenceMs = 3 * 15_000;

  /** Over any transport of Connect's that speaks gRPC or grpc-web, with its connections in hand; `connect` makes one. */
  constructor(base: Transport, key = "", connections: Connections = {}) {
    const { transport, close } = reliable(base, key, connections);
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
    return follow(watch(this.sessions, request, this.silenceMs), options);
  }

  /**
   * All sessions that match, newest first: as they are now, and again whenever that changed. Survives what `watch` does, and
   * keeps the revision itself.
   */
  watchSessions(
    request: MessageInitShape<typeof WatchSessionsRequestSchema> = {},
    options?: Options,
  ): AsyncGenerator<Session[], void> {
    return follow(list(this.sessions, request, this.silenceMs), options);
  }

  /** Gives the agent a message, once, and streams its turn up to its end. Hanging up does not cancel it. */
  runTurn(request: MessageInitShape<typeof RunTurnRequestSchema>, options?: Options): AsyncGenerator<SessionEvent, void> {
    return follow(run(this.sessions, request, this.silenceMs), options);
  }

  /**
   * Gives the agent a message and yields each block of its turn whenever it changed, as it is then: it goes on changing, so
   * `clone` what is to be kept. Throws an `AgentRuntimeError` if the turn does not complete.
   */
  run(sessionId: string, text: string, options?: Options): AsyncGenerator<Block, void> {
    return this.#run({ sessionId, text }, options);
  }

  /**
   * Gives the agent a message and returns what it writes to the user, with a blank line between two blocks. Throws an
   * `AgentRuntimeError` if the turn does not complete.
   */
  async ask(sessionId: string, text: string, options?: Options): Promise<string> {
    const blocks = new Map<string, Block>();
    for await (const block of this.#run({ sessionId, text, omitDeltas: true }, options)) {
      if (block.content.case === "assistantText" && block.conversationId === "main") {
        blocks.set(block.blockId, block);
      }
    }
    return (await Promise.all(Array.from(blocks.values(), (block) => this.text(sessionId, block, options)))).join("\n\n");
  }

  /** The whole text of a block, also what was too long to be inline; of a tool's call, what the tool is given. */
  async text(sessionId: string, block: Block, options?: Options): Promise<string> {
    if (block.truncatedBytes === 0n) {
      return block.content.case === "toolUse" ? block.content.value.inputJson : wordsOf(block);
    }
    const pieces = this.sessions.readBlockContent({ sessionId, blockId: block.blockId }, options);
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(await bytesOf(pieces));
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
    return upload(this.workspaces, header, source, options?.signal);
  }

  async *#run(request: MessageInitShape<typeof RunTurnRequestSchema>, options?: Options): AsyncGenerator<Block, void, undefined> {
    const state = new State();
    let turn: Turn | undefined;
    for await (const event of this.runTurn(request, options)) {
      const block = state.apply(event);
      if (block) {
        yield block;
      }
      // Changes of other turns do not come, and the end of this one is the last event.
      turn = event.kind.case === "turnUpdated" ? event.kind.value.turn : turn;
    }
    if (turn && turn.status !== TurnStatus.COMPLETED) {
      throw AgentRuntimeError.ofTurn(turn);
    }
  }
}

/** The pages of a list, one after the other, as in `pages(client.workspaces.listFiles, { sessionId })`. */
export async function* pages<Request extends object, Page extends { nextPageToken: string }>(
  list: (request: Request, options?: CallOptions) => Promise<Page>,
  request: Request,
  options?: CallOptions,
): AsyncGenerator<Page, void, undefined> {
  let page = await list(request, options);
  yield page;
  while (page.nextPageToken !== "") {
    page = await list({ ...request, pageToken: page.nextPageToken }, options);
    yield page;
  }
}

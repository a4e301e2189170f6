// Files and other bytes, up and down.

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";

import type { ReadBlobResponse, ReadBlockContentResponse } from "./gen/agentruntime/v1/session_service_pb.js";
import {
  type ReadFileResponse,
  UploadFileHeaderSchema,
  type UploadFileRequestSchema,
  type UploadFileResponse,
  type WorkspaceService,
} from "./gen/agentruntime/v1/workspace_service_pb.js";
import { tied } from "./resume.js";
import { again, named, unlessAborted } from "./transport.js";

// The most that one request of an upload carries.
const PIECE = 1 << 20;

/** All bytes of what is streamed in pieces, as in `bytesOf(client.workspaces.readFile({ sessionId, path }))`. */
export async function bytesOf(
  pieces: AsyncIterable<ReadFileResponse | ReadBlobResponse | ReadBlockContentResponse>,
): Promise<Uint8Array> {
  const list: Uint8Array[] = [];
  for await (const piece of pieces) {
    if ("data" in piece) {
      list.push(piece.data);
    } else if (piece.payload.case === "data") {
      list.push(piece.payload.value);
    }
  }
  return new Uint8Array(await new Blob(list as BlobPart[]).arrayBuffer());
}

/** See `Client.uploadFile`. */
export function upload(
  workspaces: Client<typeof WorkspaceService>,
  init: MessageInitShape<typeof UploadFileHeaderSchema>,
  source: Uint8Array | (() => AsyncIterable<Uint8Array>),
  stop?: AbortSignal,
): Promise<UploadFileResponse> {
  const header = { case: "header", value: named(UploadFileHeaderSchema, create(UploadFileHeaderSchema, init)) } as const;
  const broken = new AbortController();
  const [{ signal }, untie] = tied(broken.signal, stop);
  async function* requests(): AsyncGenerator<MessageInitShape<typeof UploadFileRequestSchema>> {
    yield { payload: header };
    const given = all(source);
    try {
      for (;;) {
        const { done, value: bytes } = await unlessAborted(given.next(), signal);
        if (done) {
          break;
        }
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
      yield { payload: header };
    } finally {
      // It may still wait for what never comes.
      given.return().catch(() => {});
    }
  }
  // Whoever gave up waits neither for the source nor for the server.
  return again(() => unlessAborted(workspaces.uploadFile(requests()), signal), signal).finally(untie);
}

async function* all(source: Uint8Array | (() => AsyncIterable<Uint8Array>)): AsyncGenerator<Uint8Array, void, undefined> {
  yield* source instanceof Uint8Array ? [source] : source();
}

// What the live tests do again and again with sessions.

import assert from "node:assert/strict";
import { after, type TestContext } from "node:test";

import { equals } from "@bufbuild/protobuf";

import {
  AgentRuntimeError,
  type Block,
  type Client,
  pages,
  type SessionEvent,
  type SessionState,
  SessionStateSchema,
  State,
} from "../src/index.js";
import { connect } from "../src/node.js";
import { Proxy, Server, type Silence } from "./support.js";

/** A server for all tests of a file that do not break it, and a client of it. */
export async function shared(): Promise<[Server, Client]> {
  const server = await Server.start();
  const client = connect(server.addr, { key: server.key });
  after(async () => {
    client.close();
    await server.end();
  });
  return [server, client];
}

/** The id of a new session of the scripted agent. */
export async function create(on: Client): Promise<string> {
  return (await on.sessions.createSession({ agent: "scripted" })).session?.sessionId ?? "";
}

/** A server of this test alone. */
export async function own(t: TestContext, ...options: string[]): Promise<Server> {
  const started = await Server.start(...options);
  t.after(() => started.end());
  return started;
}

/** A client of this test alone. */
export function to(t: TestContext, addr: string, options: { key?: string; ca?: string }): Client {
  const made = connect(addr, options);
  t.after(() => made.close());
  return made;
}

/** A way to the server that can be cut, and a client of this test alone that goes it. */
export async function proxied(t: TestContext, server: Server, silence?: Silence): Promise<[Proxy, Client]> {
  const proxy = await Proxy.to(server, silence);
  t.after(() => proxy.close());
  return [proxy, to(t, proxy.addr, { key: server.key })];
}

/** All that comes, up to the end. */
export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) {
    list.push(item);
  }
  return list;
}

/** All blocks of a session's main conversation. */
export async function blocksOf(on: Client, sessionId: string): Promise<Block[]> {
  return (await all(pages(on.sessions.listBlocks, { sessionId, pageSize: 2 }))).flatMap((page) => page.blocks);
}

/** What a reload shows. */
export async function snapshot(on: Client, sessionId: string): Promise<SessionState> {
  const state = new State();
  for await (const event of on.watch({ sessionId })) {
    state.apply(event);
    if (event.kind.case === "snapshotComplete") {
      break;
    }
  }
  return state.value;
}

/** Folds what a watch after one sequence brings up to another, and returns where it really ended. */
export async function apply(on: Client, state: State, sessionId: string, from: bigint, head: bigint): Promise<bigint> {
  for await (const event of on.watch({ sessionId, afterSequence: from })) {
    state.apply(event);
    if (event.sequence >= head) {
      return event.sequence;
    }
  }
  throw new Error("the watch ended");
}

export function same(a: SessionState, b: SessionState, what = "the states differ"): void {
  assert.ok(equals(SessionStateSchema, a, b), what);
}

/** What the agent wrote in a block. */
export function textOf(block: Block | undefined): string {
  return block?.content.case === "assistantText" ? block.content.value.text : "";
}

/** Why it failed; that it fails is expected. */
export async function failure(promise: Promise<unknown>): Promise<AgentRuntimeError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof AgentRuntimeError, String(error));
    return error;
  }
  throw new Error("it did not fail");
}

/** Whether a turn ended here. */
export function ends(event: SessionEvent): boolean {
  return event.kind.case === "turnUpdated" && event.kind.value.turn?.endTime !== undefined;
}

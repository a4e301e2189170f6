// Streams that are cut, anywhere and in any way, and what comes after.

import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { State } from "../src/index.js";
import { connect as connectWeb } from "../src/web.js";
import { apply, create, proxied, same, shared, snapshot, textOf, to } from "./sessions.js";
import { LONG, numbers, script } from "./support.js";

const [server, client] = await shared();

test("a hundred resumes at random points fold to the same state", async (t) => {
  const seed = Number(process.env["SEED"] ?? randomInt(1 << 30));
  t.diagnostic(`SEED=${seed}`);
  const random = numbered(seed);
  const sessionId = await create(client);
  await client.ask(sessionId, script({ think: "Hä? 😀 é", size: 1 }, { count: 200, size: 20 }, { run: "echo 1 > f" }));
  const state = await snapshot(client, sessionId);
  const head = state.session?.sequence ?? 0n;
  for (let times = 0; times < 100; times++) {
    const [folded, at] = [new State(), 1n + BigInt(Math.floor(random() * Number(head - 1n)))];
    const ended = await apply(client, folded, sessionId, 0n, at);
    await apply(client, folded, sessionId, ended, head);
    same(folded.value, state, `SEED=${seed}: cut at ${at}`);
  }
});

test("who comes in the middle of a block sees all of it", async () => {
  const sessionId = await create(client);
  // Of a text that takes minutes: it is cut short when all are there.
  const said = "ä😀é ".repeat(10_000);
  await client.sessions.sendMessage({ sessionId, text: script({ say: said, size: 1, pace_ms: 5 }) });
  const follow = async (inside: () => void): Promise<[string, string]> => {
    const state = new State();
    const text = (): string => textOf(state.value.blocks.at(-1));
    for await (const event of client.watch({ sessionId })) {
      if (event.kind.case === "blockComplete" && event.kind.value.block?.content.case === "assistantText") {
        // What deltas made of it; the complete block would mend what is wrong with it.
        return [text(), textOf(event.kind.value.block)];
      }
      state.apply(event);
      if (text() !== "") {
        inside();
      }
    }
    throw new Error("the watch ended");
  };
  const followers: Promise<[string, string]>[] = [];
  for (let times = 0; times < 10; times++) {
    await new Promise<void>((inside) => followers.push(follow(inside)));
  }
  await client.sessions.interruptTurn({ sessionId });
  for (const [seen, whole] of await Promise.all(followers)) {
    assert.ok(whole !== "" && said.startsWith(whole));
    assert.equal(seen, whole);
  }
});

test("cuts in the middle of a turn lose nothing", async (t) => {
  const [proxy, over] = await proxied(t, server);
  const state = new State();
  let cuts = 0;
  // The first one too: on a busy machine there may be few.
  let next = 0n;
  for await (const event of over.runTurn({ sessionId: await create(client), text: LONG })) {
    state.apply(event);
    // Not every sequence is seen: many deltas may come as one.
    if (event.kind.case === "blockDelta" && event.sequence >= next) {
      proxy.cut();
      cuts++;
      next = event.sequence + 40n;
    }
  }
  assert.ok(cuts > 0);
  assert.equal(textOf(state.value.blocks.at(-1)), numbers(400));
});

for (const kind of ["grpc", "grpc-web"]) {
  test(`a silent stream is opened again, over ${kind}`, async (t) => {
    const over = kind === "grpc" ? to(t, server.addr, { key: server.key }) : connectWeb(`http://${server.addr}`, { key: server.key });
    assert.equal(over.silenceMs, 45_000);
    over.silenceMs = 1000;
    let [bookmarks, opened] = [0, 0];
    const onConnection = (isOpen: boolean): void => {
      opened += isOpen ? 1 : 0;
      // Whatever is to hang up must outlive this.
      collectGarbage();
    };
    // The server keeps still for 15 s; each new stream begins with a bookmark.
    for await (const event of over.watch({ sessionId: await create(client), afterSequence: 1n }, { onConnection })) {
      if (event.kind.case === "bookmark" && ++bookmarks === 5) {
        break;
      }
    }
    assert.equal(opened, 5, "bookmarks of one stream came, which take 15 s each");
  });
}

function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
}

/** Random numbers from 0 to 1 that one number gives all of: mulberry32. */
function numbered(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

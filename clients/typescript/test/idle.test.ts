// Streams that are idle, and what stands between client and server does not like it. IDLE_SECONDS=300: for so long at least.

import assert from "node:assert/strict";
import { suite, test, type TestContext } from "node:test";

import { type Client, State } from "../src/index.js";
import { connect } from "../src/node.js";
import { connect as connectWeb } from "../src/web.js";
import { apply, create, ends, proxied, same, shared } from "./sessions.js";
import { pause, script } from "./support.js";

const IDLE_MS = 1000 * Number(process.env["IDLE_SECONDS"] ?? 0);
// What there is in earnest, and what takes less of a test's time.
const [PATIENCE_MS, BOOKMARKS] = IDLE_MS > 0 ? [20_000, {}] : [10_000, { bookmarkInterval: { seconds: 2n } }];

const [server, client] = await shared();

suite("idle streams", { concurrency: true }, () => {
  for (const kind of ["grpc", "grpc-web"]) {
    test(`bookmarks keep a silent connection open, over ${kind}`, async (t) => {
      const [proxy, grpc] = await proxied(t, server, { ms: PATIENCE_MS, how: "cut" });
      const over = kind === "grpc" ? grpc : connectWeb(`http://${proxy.addr}`, { key: server.key });
      const [sessionId, began] = [await create(over), Date.now()];
      let bookmarks = 0;
      for await (const event of over.watch({ sessionId, ...BOOKMARKS })) {
        bookmarks += event.kind.case === "bookmark" ? 1 : 0;
        if (bookmarks >= 3 && Date.now() - began >= Math.max(IDLE_MS, 1.2 * PATIENCE_MS)) {
          break;
        }
      }
      assert.equal(proxy.silences, 0);
      t.diagnostic(`${bookmarks} bookmarks in ${Math.round((Date.now() - began) / 1000)} s`);
    });

    test(`a silent stream ends no other, over ${kind}`, async (t) => {
      const key = server.key;
      const over = kind === "grpc" ? withoutPings(t, server.addr) : connectWeb(`http://${server.addr}`, { key });
      over.silenceMs = 500;
      const sessionId = await create(over);
      const opened = [0, 0];
      const counts = (which: 0 | 1) => (isOpen: boolean): void => {
        opened[which] = (opened[which] ?? 0) + (isOpen ? 1 : 0);
      };
      // This one has bookmarks often enough, and the other has none before it counts as silent.
      const lives = over.watch({ sessionId, bookmarkInterval: { seconds: 10n } }, { onConnection: counts(0) });
      await lives.next();
      const silent = over.watch({ sessionId, afterSequence: 1n }, { onConnection: counts(1) });
      for await (const event of silent) {
        if (event.kind.case === "bookmark" && (opened[1] ?? 0) >= 3) {
          break;
        }
      }
      await client.ask(sessionId, "hello");
      for await (const event of lives) {
        if (ends(event)) {
          break;
        }
      }
      assert.equal(opened[0], 1);
    });

    for (const how of ["cut", "forget"] as const) {
      test(`a stream goes on behind a proxy that does not like silence: ${how}, over ${kind}`, async (t) => {
        const [proxy] = await proxied(t, server, { ms: 500, how });
        const over = kind === "grpc" ? withoutPings(t, proxy.addr) : connectWeb(`http://${proxy.addr}`, { key: server.key });
        over.silenceMs = 1000;
        const [sessionId, state, began] = [await create(client), new State(), Date.now()];
        let [heard, turns, isOver] = [0, 0, false];
        const follows = (async () => {
          // From the beginning: a snapshot may come when the first turn is over.
          for await (const event of over.watch({ sessionId, afterSequence: 0n })) {
            state.apply(event);
            heard += ends(event) ? 1 : 0;
            if (isOver && heard === turns) {
              return;
            }
          }
        })();
        while (!isOver) {
          const before = proxy.silences;
          while (proxy.silences === before) {
            await pause(50);
          }
          isOver = turns >= 2 && Date.now() - began >= IDLE_MS;
          turns++;
          await client.ask(sessionId, script({ say: `${turns}`, size: 1 }));
        }
        await follows;
        const replayed = new State();
        await apply(client, replayed, sessionId, 0n, state.value.session?.sequence ?? 0n);
        same(state.value, replayed.value);
        t.diagnostic(`${turns} turns, ${proxy.silences} connections were silent for too long`);
      });
    }
  }
});

/** A client that learns of a dead connection only by the silence of its streams. */
function withoutPings(t: TestContext, addr: string): Client {
  const made = connect(addr, { key: server.key, pingIntervalMs: Infinity });
  t.after(() => made.close());
  return made;
}

// Streams that are idle for long, with the server's own bookmarks: in a file of its own, so that others run meanwhile.

import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "../src/node.js";
import { connect as connectWeb } from "../src/web.js";
import { create } from "./sessions.js";
import { Proxy, Server } from "./support.js";

test("a proxy that cuts silence of 20 s cuts nothing", { concurrency: true }, async (t) => {
  const server = await Server.start();
  const proxy = await Proxy.to(server, { ms: 20_000, how: "cut" });
  const clients = [connect(proxy.addr, { key: server.key }), connectWeb(`http://${proxy.addr}`, { key: server.key })];
  t.after(async () => {
    clients.forEach((client) => client.close());
    proxy.close();
    await server.end();
  });
  const idle = clients.map(async (client) => {
    const [sessionId, told] = [await create(client), new Array<boolean>()];
    let bookmarks = 0;
    for await (const { kind } of client.watch({ sessionId }, { onConnection: (isOpen) => told.push(isOpen) })) {
      // Each comes after 15 s of silence.
      if (kind.case === "bookmark" && ++bookmarks === 3) {
        break;
      }
    }
    assert.deepEqual(told, [true]);
  });
  await Promise.all(idle);
});

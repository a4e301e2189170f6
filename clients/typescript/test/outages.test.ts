// What a client lives through: kills, cuts, lost answers, refusals and deadlines.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { Code, ConnectError } from "@connectrpc/connect";

import { AgentRuntimeError, BusyPolicy, State } from "../src/index.js";
import { connect } from "../src/node.js";
import { connect as connectWeb } from "../src/web.js";
import { all, apply, blocksOf, create, ends, failure, own, proxied, same, shared, snapshot, textOf, to } from "./sessions.js";
import { ENDLESS, numbers, pause, Proxy, script } from "./support.js";

const [server, client] = await shared();

test("a turn survives kill and restart", async (t) => {
  const fragile = await own(t);
  const over = to(t, fragile.addr, { key: fragile.key });
  const sessionId = await create(over);
  const live = new State();
  let [opened, kills, length] = [0, 0, 0];
  const onConnection = (isOpen: boolean): void => {
    opened += isOpen ? 1 : 0;
  };
  for await (const event of over.runTurn({ sessionId, text: ENDLESS }, { onConnection })) {
    live.apply(event);
    // What was on its way before a kill is no sign that the turn goes on after it.
    if (kills > 2 || opened <= kills || textOf(live.value.blocks.at(-1)).length <= length) {
      continue;
    }
    length = textOf(live.value.blocks.at(-1)).length;
    if (kills++ < 2) {
      await fragile.kill();
      await fragile.start();
    } else {
      await over.sessions.interruptTurn({ sessionId });
    }
  }
  assert.equal(kills, 3, "it ended before two kills and an interrupt");
  const [state, replayed] = [await snapshot(over, sessionId), new State()];
  const text = textOf(state.blocks.at(-1));
  assert.equal(text, numbers(Math.ceil(text.length / 20)).slice(0, text.length));
  assert.equal(textOf(live.value.blocks.at(-1)), text);
  await apply(over, replayed, sessionId, 0n, state.session?.sequence ?? 0n);
  same(replayed.value, state);
});

for (const kind of ["grpc", "grpc-web"]) {
  test(`a watch survives kill and restart, over ${kind}`, async (t) => {
    const fragile = await own(t);
    const key = fragile.key;
    const over = kind === "grpc" ? to(t, fragile.addr, { key }) : connectWeb(`http://${fragile.addr}`, { key });
    const sessionId = await create(over);
    const live = new State();
    let opened = 0;
    const onConnection = (isOpen: boolean): void => {
      opened += isOpen ? 1 : 0;
    };
    const follows = (async () => {
      const request = { sessionId, afterSequence: 0n, bookmarkInterval: { seconds: 1n } };
      for await (const event of over.watch(request, { onConnection })) {
        live.apply(event);
        if (ends(event)) {
          return;
        }
      }
    })();
    await over.sessions.sendMessage({ sessionId, text: ENDLESS });
    let length = 0;
    for (let kills = 0; kills <= 2; kills++) {
      while (opened <= kills || textOf(live.value.blocks.at(-1)).length <= length) {
        await Promise.race([pause(20), follows.then(() => assert.fail("the turn ended before it was interrupted"))]);
      }
      length = textOf(live.value.blocks.at(-1)).length;
      if (kills < 2) {
        await fragile.kill();
        await fragile.start();
      }
    }
    await over.sessions.interruptTurn({ sessionId });
    await follows;
    const replayed = new State();
    await apply(over, replayed, sessionId, 0n, live.value.session?.sequence ?? 0n);
    same(live.value, replayed.value);
  });
}

for (const how of ["break", "abort"]) {
  test(`hanging up ends the stream, by ${how}`, async (t) => {
    const [proxy, over] = await proxied(t, server);
    const sessionId = await create(client);
    const hangUp = new AbortController();
    const read = async (): Promise<void> => {
      for await (const event of over.runTurn({ sessionId, text: ENDLESS }, { signal: hangUp.signal })) {
        if (event.kind.case === "blockDelta") {
          if (how === "break") {
            return;
          }
          hangUp.abort(new Error("enough"));
        }
      }
    };
    await (how === "break" ? read() : assert.rejects(read(), /enough/));
    const sequence = async (): Promise<bigint> => (await client.sessions.getSession({ sessionId })).session?.sequence ?? 0n;
    // While the turn goes on, nothing more is sent to who hung up. What is on its way may still come; a stream that nobody reads
    // goes on for longer, up to its window of 64 KiB.
    let [noisy, quiet] = [0, false];
    while (!quiet) {
      const [sent, was] = [proxy.answered, await sequence()];
      // Without watchers four commits a second are made.
      await pause(1000);
      if ((await sequence()) >= was + 2n) {
        quiet = proxy.answered - sent < 200;
        assert.ok(quiet || ++noisy <= 6, "its events still come");
      }
    }
    await client.sessions.interruptTurn({ sessionId });
  });
}

test("a call whose answer is lost is made once", async (t) => {
  const [proxy, over] = await proxied(t, server);
  const sessionId = await create(over);
  const said = async (): Promise<string[]> =>
    (await blocksOf(client, sessionId)).filter((b) => b.content.case === "userMessage").map((b) => b.blockId);
  proxy.losesAnswers = true;
  const sends = over.sessions.sendMessage({ sessionId, text: script({ say: "once" }), busyPolicy: BusyPolicy.REJECT });
  while ((await said()).length === 0) {
    await pause(20);
  }
  proxy.losesAnswers = false;
  proxy.cut();
  assert.deepEqual(await said(), [(await sends).turn?.blockId]);
});

test("a repeated request id gets the first answer", async () => {
  const first = await client.sessions.createSession({ agent: "scripted", requestId: "mine" });
  const again = await client.sessions.createSession({ agent: "scripted", requestId: "mine" });
  assert.equal(first.session?.sessionId, again.session?.sessionId);
  const reused = client.sessions.createSession({ agent: "scripted", name: "another", requestId: "mine" });
  assert.equal((await failure(reused)).reason, "REQUEST_ID_REUSED");
});

test("a key that no header can carry is refused at once", async (t) => {
  for (const key of ["two\nlines", "schlüssel", "a\0b"]) {
    const refused = { name: "ConnectError", message: /the key/ };
    assert.throws(() => connect("127.0.0.1:1", { key }), refused);
    assert.throws(() => connectWeb("http://127.0.0.1:1", { key }), refused);
  }
  assert.notEqual(await create(to(t, server.addr, { key: `  ${server.key}\n` })), "");
});

test("what is refused says why", async (t) => {
  for (const [key, reason] of [["wrong", "AUTH_INVALID"], ["", "AUTH_MISSING"]] as const) {
    const stranger = to(t, server.addr, { key });
    for (const call of [() => create(stranger), () => stranger.watch({ sessionId: "ses_1" }).next()]) {
      const refused = await failure(call());
      assert.deepEqual([refused.code, refused.reason], [Code.Unauthenticated, reason]);
    }
  }
  const invalid = await failure(client.sessions.createSession({ agent: "scripted", name: "x".repeat(201) }));
  assert.deepEqual([invalid.reason, invalid.fieldViolations[0]?.field], ["INVALID_FIELD", "name"]);
  const missing = await failure(client.sessions.getSession({ sessionId: "ses_nowhere" }));
  assert.deepEqual([missing.reason, missing.info["session_id"]], ["SESSION_NOT_FOUND", "ses_nowhere"]);
  assert.ok(missing.details.some((detail) => "type" in detail && detail.type === "google.rpc.ErrorInfo"));
  const sessionId = await create(client);
  assert.equal((await failure(client.watch({ sessionId, afterSequence: 1000n }).next())).reason, "SEQUENCE_AHEAD");
  const unknown = await failure(client.runTurn({ sessionId, text: "hello", requestId: "unknown", afterSequence: 1n }).next());
  assert.deepEqual([unknown.reason, unknown.fieldViolations[0]?.field], ["INVALID_FIELD", "after_sequence"]);
  const other = client.watch({ sessionId, afterSequence: 1n, expectedUid: "another-log" });
  const first = await other.next();
  await other.return();
  assert.equal(first.value?.kind.case, "snapshotStart", "a cursor of another log needs a snapshot");
});

test("a deadline is kept", async (t) => {
  const fragile = await own(t);
  const over = to(t, fragile.addr, { key: fragile.key });
  const sessionId = await create(over);
  await fragile.standStill();
  try {
    const began = Date.now();
    const late = await failure(over.sessions.getSession({ sessionId }, { timeoutMs: 500 }));
    assert.equal(late.code, Code.DeadlineExceeded);
    assert.ok(Date.now() - began > 400);
    await assert.rejects(over.watch({ sessionId }, { signal: AbortSignal.timeout(500) }).next(), { name: "TimeoutError" });
    // An aborted signal throws its own reason, whatever it ends: a call, an open stream, an upload that waits for the server.
    for (const ends of [
      (signal: AbortSignal) => over.sessions.getSession({ sessionId }, { signal }),
      (signal: AbortSignal) => all(over.sessions.watchSession({ sessionId }, { signal })),
      (signal: AbortSignal) => over.uploadFile({ sessionId, path: "a" }, new Uint8Array(1), { signal }),
    ]) {
      const why = new Error("enough");
      const hangUp = new AbortController();
      const ended = assert.rejects(ends(hangUp.signal), (thrown) => thrown === why);
      setTimeout(() => hangUp.abort(why), 50);
      await ended;
    }
  } finally {
    fragile.signal("SIGCONT");
  }
});

test("a call waits for a server that comes back", async (t) => {
  const fragile = await own(t);
  const proxy = await Proxy.to(fragile);
  t.after(() => proxy.close());
  const over = to(t, proxy.addr, { key: fragile.key });
  const sessionId = await create(over);
  proxy.refuses = 2;
  proxy.cut();
  assert.equal((await over.sessions.stopSession({ sessionId })).session?.sessionId, sessionId);
  assert.equal(proxy.refuses, 0);
  await fragile.kill();
  assert.equal((await failure(over.sessions.stopSession({ sessionId }))).code, Code.Unavailable);
});

test("a connection that was reset is one that was cut", () => {
  const reset = AgentRuntimeError.of(new ConnectError("read ECONNRESET", Code.Aborted));
  assert.deepEqual([reset.code, reset.isTransient], [Code.Unavailable, true]);
});

test("TLS is spoken where it is asked for", async (t) => {
  const folder = await own(t);
  const [certificate, secret] = [join(folder.data, "cert.pem"), join(folder.data, "key.pem")];
  const args = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost " +
    "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
  execFileSync("openssl", [...args.split(" "), "-keyout", secret, "-out", certificate], { stdio: "ignore" });
  const secure = await own(t, "--tls-cert", certificate, "--tls-key", secret);
  const over = to(t, secure.addr, { key: secure.key, ca: readFileSync(certificate, "utf8") });
  assert.equal(await over.ask(await create(over), script({ say: "hidden" })), "hidden");
  // A key never goes out in the clear to a server whose certificate was given.
  const ca = readFileSync(certificate);
  assert.throws(() => connect(`http://${secure.addr}`, { key: secure.key, ca }), /is not over TLS/);
});

test("what the caller's own code throws ends the stream", async () => {
  const sessionId = await create(client);
  const onConnection = (isOpen: boolean): void => {
    if (isOpen) {
      throw new Error("a mistake");
    }
  };
  await assert.rejects(client.watch({ sessionId }, { onConnection }).next(), /a mistake/);
});

test("a list of sessions survives kill and restart", async (t) => {
  const fragile = await own(t);
  const over = to(t, fragile.addr, { key: fragile.key });
  const made = [await create(over), await create(over), await create(over)];
  const told: boolean[] = [];
  // More than one attempt may fail.
  const onConnection = (isOpen: boolean): unknown => told.at(-1) !== isOpen && told.push(isOpen);
  let times = 0;
  for await (const list of over.watchSessions({}, { onConnection })) {
    const [listed, want] = [list.map(({ sessionId }) => sessionId), [...made].reverse()];
    if (JSON.stringify(listed) !== JSON.stringify(want)) {
      continue;
    }
    if (times++ === 2) {
      break;
    }
    await fragile.kill();
    await fragile.start();
    await over.sessions.deleteSession({ sessionId: made.shift() ?? "" });
    made.push(await create(over));
  }
  assert.deepEqual(told, [true, false, true, false, true]);
});

for (const kind of ["grpc", "grpc-web"]) {
  test(`closing a client ends its streams and calls, over ${kind}`, async (t) => {
    const fragile = await own(t);
    const key = fragile.key;
    const over = kind === "grpc" ? connect(fragile.addr, { key }) : connectWeb(`http://${fragile.addr}`, { key });
    const sessionId = await create(over);
    const watch = over.watch({ sessionId });
    assert.equal((await watch.next()).value?.kind.case, "snapshotStart");
    // Nothing is answered.
    await fragile.standStill();
    try {
      const goesOn = [failure(all(watch)), failure(over.sessions.getSession({ sessionId }))];
      await pause(50);
      over.close();
      for (const failed of await Promise.all(goesOn)) {
        assert.match(failed.message, /closed/);
      }
    } finally {
      fragile.signal("SIGCONT");
    }
    assert.match((await failure(over.sessions.getSession({ sessionId }))).message, /closed/);
  });
}

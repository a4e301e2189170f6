import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";

import { equals } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";

import { connect } from "../src/node.js";
import {
  AgentRuntimeError,
  BusyPolicy,
  type Client,
  type SessionEvent,
  type SessionState,
  SessionStateSchema,
  SessionStatus,
  State,
  TurnStatus,
} from "../src/index.js";
import { Watch } from "../src/streams.js";
import { connect as connectWeb } from "../src/web.js";
import { ENDLESS, LONG, numbers, pause, Proxy, script, Server } from "./support.js";

let server: Server;
let client: Client;

before(async () => {
  server = await Server.start();
  client = connect(server.addr, { key: server.key });
});

after(async () => {
  client.close();
  await server.end();
});

async function create(on: Client): Promise<string> {
  return (await on.sessions.createSession({ agent: "scripted" })).session?.sessionId ?? "";
}

async function own(t: TestContext, ...options: string[]): Promise<Server> {
  const started = await Server.start(...options);
  t.after(() => started.end());
  return started;
}

function to(t: TestContext, addr: string, options: { key?: string; ca?: string }): Client {
  const made = connect(addr, options);
  t.after(() => made.close());
  return made;
}

async function proxied(t: TestContext): Promise<[Proxy, Client]> {
  const proxy = await Proxy.to(server);
  t.after(() => proxy.close());
  return [proxy, to(t, proxy.addr, { key: server.key })];
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) {
    list.push(item);
  }
  return list;
}

/** What a reload shows. */
async function snapshot(on: Client, sessionId: string): Promise<SessionState> {
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
async function apply(on: Client, state: State, sessionId: string, from: bigint, head: bigint): Promise<bigint> {
  for await (const event of on.watch({ sessionId, afterSequence: from })) {
    state.apply(event);
    if (event.sequence >= head) {
      return event.sequence;
    }
  }
  throw new Error("the watch ended");
}

function same(a: SessionState, b: SessionState, what = "the states differ"): void {
  assert.ok(equals(SessionStateSchema, a, b), what);
}

async function failure(promise: Promise<unknown>): Promise<AgentRuntimeError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof AgentRuntimeError, String(error));
    return error;
  }
  throw new Error("it did not fail");
}

function ends(event: SessionEvent): boolean {
  return event.kind.case === "turnUpdated" && event.kind.value.turn?.endTime !== undefined;
}

describe("the whole way", () => {
  for (const kind of ["grpc", "grpc-web"]) {
    test(`a session answers and shows its files, over ${kind}`, async () => {
      const over = kind === "grpc" ? client : connectWeb(`http://${server.addr}`, { key: server.key });
      const workspaceFiles = [{ path: "a.txt", content: new TextEncoder().encode("hi") }];
      const labels = { kind };
      const created = await over.sessions.createSession({ agent: "scripted", labels, workspaceFiles });
      const sessionId = created.session?.sessionId ?? "";
      const message = script({ think: "Easy." }, { say: "One, ", size: 2 }, { run: "echo hello > b.txt" }, { say: "two." });
      const ids = new Set<string>();
      for await (const block of over.run(sessionId, message)) {
        ids.add(block.blockId);
      }
      const blocks = await all(over.blocks({ sessionId, pageSize: 2 }));
      assert.deepEqual(blocks.map((block) => block.blockId), [...ids]);
      assert.deepEqual(
        blocks.map((block) => block.content.case),
        ["userMessage", "thinking", "assistantText", "toolUse", "toolResult", "assistantText"],
      );
      assert.deepEqual((await all(over.files({ sessionId }))).map((file) => file.path), ["a.txt", "b.txt"]);
      assert.equal(await over.ask(sessionId, script({ say: "Grüße" }, { say: "😀" })), "Grüße\n\n😀");
      assert.deepEqual((await all(over.listSessions({ labels }))).map((session) => session.sessionId), [sessionId]);
    });
  }

  test("a long text comes whole", async () => {
    assert.equal(await client.ask(await create(client), script({ count: 20_000, size: 20 })), numbers(20_000));
  });

  test("files go up and down", async () => {
    const sessionId = await create(client);
    const big = new Uint8Array(randomBytes(3 * 1024 * 1024 + 1));
    const { file } = await client.uploadFile({ sessionId, path: "dir/big" }, big);
    assert.equal(file?.sizeBytes, BigInt(big.length));
    assert.deepEqual(await client.readFile({ sessionId, path: "dir/big" }), big);
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield big;
      throw new Error("the disk is gone");
    }
    await assert.rejects(client.uploadFile({ sessionId, path: "broken" }, broken), /the disk is gone/);
    assert.equal((await failure(client.readFile({ sessionId, path: "broken" }))).reason, "FILE_NOT_FOUND");
    const hangUp = new AbortController();
    async function* slow(): AsyncGenerator<Uint8Array> {
      yield big;
      hangUp.abort(new Error("enough"));
      yield big;
    }
    await assert.rejects(client.uploadFile({ sessionId, path: "broken" }, slow, { signal: hangUp.signal }), /enough/);
    assert.equal((await failure(client.readFile({ sessionId, path: "broken" }))).reason, "FILE_NOT_FOUND");
    const refused = client.uploadFile({ sessionId, path: "dir/big", ifSha256: "-" }, big.subarray(1));
    assert.equal((await failure(refused)).reason, "ETAG_MISMATCH");
  });

  test("a permission is asked for and given", async () => {
    const sessionId = await create(client);
    const text = script({ ask: { tool: "Bash", input: { command: "ls" } }, then: [{ say: "It ran." }] });
    let permissionId = "";
    for await (const event of client.runTurn({ sessionId, text })) {
      if (event.kind.case === "permissionRequested") {
        const waits = await client.sessions.getSession({ sessionId });
        permissionId = waits.openPermissions[0]?.permissionId ?? "";
        await client.sessions.resolvePermission({ sessionId, permissionId, optionId: "allow_once" });
      }
    }
    const said = (await snapshot(client, sessionId)).blocks.at(-1)?.content;
    assert.equal(said?.case === "assistantText" && said.value.text, "It ran.");
    const late = await failure(client.sessions.resolvePermission({ sessionId, permissionId, optionId: "reject_once" }));
    assert.deepEqual([late.reason, late.info["option_id"]], ["ALREADY_RESOLVED", "allow_once"]);
  });

  test("an interrupt ends the turn", async () => {
    const sessionId = await create(client);
    const sent = await client.sessions.sendMessage({ sessionId, text: ENDLESS });
    const stopped = await client.sessions.interruptTurn({ sessionId });
    assert.equal(stopped.turn?.turnId, sent.turn?.turnId);
    for await (const event of client.watch({ sessionId, afterSequence: 0n })) {
      if (ends(event)) {
        assert.equal(event.kind.case === "turnUpdated" && event.kind.value.turn?.status, TurnStatus.INTERRUPTED);
        break;
      }
    }
  });

  test("messages wait their turn", async () => {
    const sessionId = await create(client);
    const send = async (text: string, busyPolicy: BusyPolicy): Promise<string> =>
      (await client.sessions.sendMessage({ sessionId, text, busyPolicy })).turn?.turnId ?? "";
    const active = await send(ENDLESS, BusyPolicy.REJECT);
    const waits = await send(script({ say: "later" }), BusyPolicy.QUEUE);
    const gone = await send(script({ say: "never" }), BusyPolicy.QUEUE);
    const cancelled = await client.sessions.cancelTurn({ sessionId, turnId: gone });
    assert.equal(cancelled.turn?.status, TurnStatus.CANCELLED);
    const first = await send(script({ say: "now" }), BusyPolicy.INTERRUPT);
    const ended: string[] = [];
    for await (const event of client.watch({ sessionId, afterSequence: 0n })) {
      if (ends(event) && event.kind.case === "turnUpdated") {
        ended.push(event.kind.value.turn?.turnId ?? "");
      }
      if (ended.includes(waits)) {
        break;
      }
    }
    assert.deepEqual(ended, [gone, active, first, waits]);
    const { turns } = await client.sessions.listTurns({ sessionId });
    assert.deepEqual(turns.map((turn) => turn.turnId), [active, waits, gone, first]);
  });

  test("a question is answered", async () => {
    const sessionId = await create(client);
    const options = [{ label: "red", description: "As fire." }, { label: "blue", description: "As the sea." }];
    const question = { question: "Which?", header: "Colour", options, multiSelect: false };
    let questionId = "";
    for await (const event of client.runTurn({ sessionId, text: script({ question: [question], then: [{ say: "So be it." }] }) })) {
      if (event.kind.case === "questionRequested") {
        questionId = event.kind.value.question?.questionId ?? "";
        await client.sessions.answerQuestion({ sessionId, questionId, answers: [{ choices: ["blue"] }] });
      }
    }
    const state = await snapshot(client, sessionId);
    assert.deepEqual(state.questions[0]?.resolution?.answers.map((answer) => answer.choices), [["blue"]]);
    const said = state.blocks.at(-1)?.content;
    assert.equal(said?.case === "assistantText" && said.value.text, "So be it.");
    assert.equal((await failure(client.sessions.answerQuestion({ sessionId, questionId }))).reason, "ALREADY_RESOLVED");
  });

  test("a session is updated", async () => {
    const sessionId = await create(client);
    const updateMask = { paths: ["name"] };
    const updated = await client.sessions.updateSession({ session: { sessionId, name: "after" }, updateMask });
    assert.equal(updated.session?.name, "after");
    const stale = client.sessions.updateSession({ session: { sessionId, name: "lost", etag: "stale" }, updateMask });
    assert.equal((await failure(stale)).reason, "ETAG_MISMATCH");
    const [state, replayed] = [await snapshot(client, sessionId), new State()];
    await apply(client, replayed, sessionId, 0n, state.session?.sequence ?? 0n);
    same(replayed.value, state);
  });

  test("a profile takes effect", async () => {
    const environment = { GREETING: { source: { case: "value", value: "hi" } } } as const;
    const { profile } = await client.profiles.createProfile({ profile: { name: "greets", agent: "scripted", environment } });
    const { session } = await client.sessions.createSession({ profileId: profile?.profileId ?? "" });
    let said: unknown;
    for await (const block of client.run(session?.sessionId ?? "", script({ run: "echo $GREETING" }))) {
      said = block.content.case === "toolResult" && block.content.value.output.value;
    }
    assert.equal(said, "hi\n");
  });

  test("a turn that fails is an error", async () => {
    const failed = await failure(client.ask(await create(client), script({ error: "no luck" })));
    assert.deepEqual([failed.code, failed.reason], [Code.Aborted, "AGENT_FAILED"]);
    assert.match(failed.message, /FAILED: no luck/);
  });

  test("a deleted session ends its watches", async () => {
    const sessionId = await create(client);
    let last: SessionEvent | undefined;
    for await (const event of client.watch({ sessionId, afterSequence: 0n })) {
      last = event;
      if (event.kind.case === "sessionCreated") {
        await client.sessions.deleteSession({ sessionId });
      }
    }
    assert.equal(last?.kind.case === "statusChanged" && last.kind.value.status, SessionStatus.DELETED);
  });

  test("the first program runs", () => {
    const here = fileURLToPath(new URL("../../", import.meta.url));
    const program = readFileSync(join(here, "examples", "first.ts"), "utf8");
    assert.ok(readFileSync(join(here, "README.md"), "utf8").includes(program));
    assert.ok(program.split("\n").length <= 21);
    execFileSync("npm", ["run", "--silent", "build"], { cwd: here });
    const env = { ...process.env, ADDR: server.addr, KEY: server.key };
    const run = spawnSync(process.execPath, [join(here, "build", "examples", "first.js")], { env, encoding: "utf8" });
    assert.equal(run.status, 0, run.stderr);
    const lines = run.stdout.trim().split("\n").slice(1).map((line) => line.split(" ")[0]);
    assert.deepEqual(lines, ["userMessage", "assistantText", "toolUse", "toolResult", "one.txt"]);
  });
});

describe("what goes wrong", () => {
  test("a turn survives kill and restart", async (t) => {
    const fragile = await own(t);
    const over = to(t, fragile.addr, { key: fragile.key });
    const sessionId = await create(over);
    let [text, changes] = ["", 0];
    for await (const block of over.run(sessionId, LONG)) {
      text = block.content.case === "assistantText" ? block.content.value.text : "";
      if (++changes === 12 || changes === 30) {
        await fragile.kill();
        await fragile.start();
      }
    }
    assert.equal(text, numbers(400));
    const [state, replayed] = [await snapshot(over, sessionId), new State()];
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
      const follows = (async () => {
        for await (const event of over.watch({ sessionId, bookmarkInterval: { seconds: 1n } })) {
          live.apply(event);
          if (ends(event)) {
            return;
          }
        }
      })();
      await over.sessions.sendMessage({ sessionId, text: LONG });
      for (let times = 0; times < 2; times++) {
        await pause(400);
        await fragile.kill();
        await fragile.start();
      }
      await follows;
      const replayed = new State();
      await apply(over, replayed, sessionId, 0n, live.value.session?.sequence ?? 0n);
      same(live.value, replayed.value);
    });
  }

  test("every resume folds to the same state", async () => {
    const sessionId = await create(client);
    await client.ask(sessionId, script({ think: "Hä? 😀 é", size: 1 }, { count: 200, size: 20 }, { run: "echo 1 > f" }));
    const state = await snapshot(client, sessionId);
    const head = state.session?.sequence ?? 0n;
    for (let times = 0; times < 20; times++) {
      const [folded, at] = [new State(), BigInt(randomInt(1, Number(head)))];
      const ended = await apply(client, folded, sessionId, 0n, at);
      await apply(client, folded, sessionId, ended, head);
      same(folded.value, state, `cut at ${at}`);
    }
  });

  test("cuts in the middle of a turn lose nothing", async (t) => {
    const [proxy, over] = await proxied(t);
    const state = new State();
    let cuts = 0;
    for await (const event of over.runTurn({ sessionId: await create(client), text: LONG })) {
      state.apply(event);
      if (event.sequence % 40n === 0n) {
        proxy.cut();
        cuts++;
      }
    }
    const said = state.value.blocks.at(-1)?.content;
    assert.ok(cuts > 0);
    assert.equal(said?.case === "assistantText" && said.value.text, numbers(400));
  });

  for (const how of ["break", "abort"]) {
    test(`hanging up ends the stream, by ${how}`, async (t) => {
      const [proxy, over] = await proxied(t);
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
      // While the turn goes on, nothing more is sent to who hung up.
      let quiet = false;
      for (let tries = 0; tries < 60 && !quiet; tries++) {
        const [sent, was] = [proxy.answered, await sequence()];
        // Without watchers four commits a second are made.
        await pause(1000);
        quiet = (await sequence()) >= was + 2n && proxy.answered - sent < 200;
      }
      await client.sessions.interruptTurn({ sessionId });
      assert.ok(quiet, "the turn does not go on, or its events still come");
    });
  }

  test("a call whose answer is lost is made once", async (t) => {
    const [proxy, over] = await proxied(t);
    const sessionId = await create(over);
    const said = async (): Promise<string[]> =>
      (await all(client.blocks({ sessionId }))).filter((b) => b.content.case === "userMessage").map((b) => b.blockId);
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

  test("a silent stream is opened again", async () => {
    const watch = new Watch(client.sessions, { sessionId: await create(client), afterSequence: 1n });
    assert.equal(watch.silenceMs, 45_000);
    watch.silenceMs = 300;
    const began = Date.now();
    let bookmarks = 0;
    // The server keeps still for 15 s; each new stream begins with a bookmark.
    for await (const event of watch.follow()) {
      if (event.kind.case === "bookmark" && ++bookmarks === 3) {
        break;
      }
    }
    assert.ok(Date.now() - began < 25_000, "three bookmarks of one stream take 30 s");
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
    const sessionId = await create(client);
    assert.equal((await failure(client.watch({ sessionId, afterSequence: 1000n }).next())).reason, "SEQUENCE_AHEAD");
    const other = client.watch({ sessionId, afterSequence: 1n, expectedUid: "another-log" });
    const first = await other.next();
    await other.return();
    assert.equal(first.value?.kind.case, "snapshotStart", "a cursor of another log needs a snapshot");
  });

  test("a deadline is kept", async (t) => {
    const fragile = await own(t);
    const over = to(t, fragile.addr, { key: fragile.key });
    const sessionId = await create(over);
    fragile.signal("SIGSTOP");
    try {
      const began = Date.now();
      const late = await failure(over.sessions.getSession({ sessionId }, { timeoutMs: 500 }));
      assert.equal(late.code, Code.DeadlineExceeded);
      assert.ok(Date.now() - began > 400);
      await assert.rejects(over.watch({ sessionId }, { signal: AbortSignal.timeout(500) }).next(), { name: "TimeoutError" });
    } finally {
      fragile.signal("SIGCONT");
    }
  });

  test("a call waits for a server that comes back", async (t) => {
    const fragile = await own(t);
    const over = to(t, fragile.addr, { key: fragile.key });
    const sessionId = await create(over);
    await fragile.kill();
    const stops = over.sessions.stopSession({ sessionId });
    await pause(400);
    await fragile.start();
    assert.equal((await stops).session?.sessionId, sessionId);
    await fragile.kill();
    assert.equal((await failure(over.sessions.stopSession({ sessionId }))).code, Code.Unavailable);
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
  });
});

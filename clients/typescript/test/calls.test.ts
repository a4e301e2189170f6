// What a client can do: every call of the contract, over a real server.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";

import { Code } from "@connectrpc/connect";

import {
  BlockState,
  BusyPolicy,
  bytesOf,
  pages,
  PermissionEffect,
  type Session,
  type SessionEvent,
  SessionStatus,
  State,
  TurnStatus,
} from "../src/index.js";
import { connect as connectWeb } from "../src/web.js";
import { all, apply, blocksOf, create, ends, failure, own, same, shared, snapshot, to } from "./sessions.js";
import { ENDLESS, numbers, script } from "./support.js";

const [server, client] = await shared();

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
    const blocks = await blocksOf(over, sessionId);
    assert.deepEqual(blocks.map((block) => block.blockId), [...ids]);
    assert.deepEqual(
      blocks.map((block) => block.content.case),
      ["userMessage", "thinking", "assistantText", "toolUse", "toolResult", "assistantText"],
    );
    const [asked, , , call] = await Promise.all(blocks.map((block) => over.text(sessionId, block)));
    assert.deepEqual([asked, JSON.parse(call ?? "").command], [message, "echo hello > b.txt"]);
    assert.deepEqual((await all(pages(over.workspaces.listFiles, { sessionId }))).flatMap(({ files }) => files.map(({ path }) => path)), ["a.txt", "b.txt"]);
    assert.equal(await over.ask(sessionId, script({ say: "Grüße" }, { say: "😀" })), "Grüße\n\n😀");
    const { sessions } = await over.sessions.listSessions({ labels });
    assert.deepEqual(sessions.map((session) => session.sessionId), [sessionId]);
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
  assert.deepEqual(await bytesOf(client.workspaces.readFile({ sessionId, path: "dir/big" })), big);
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield big;
    throw new Error("the disk is gone");
  }
  await assert.rejects(client.uploadFile({ sessionId, path: "broken" }, broken), /the disk is gone/);
  assert.equal((await failure(bytesOf(client.workspaces.readFile({ sessionId, path: "broken" })))).reason, "FILE_NOT_FOUND");
  const hangUp = new AbortController();
  async function* slow(): AsyncGenerator<Uint8Array> {
    yield big;
    hangUp.abort(new Error("enough"));
    yield big;
  }
  await assert.rejects(client.uploadFile({ sessionId, path: "broken" }, slow, { signal: hangUp.signal }), /enough/);
  assert.equal((await failure(bytesOf(client.workspaces.readFile({ sessionId, path: "broken" })))).reason, "FILE_NOT_FOUND");
  const stuck = new AbortController();
  async function* endless(): AsyncGenerator<Uint8Array> {
    yield big;
    stuck.abort(new Error("no patience"));
    await new Promise(() => {});
  }
  await assert.rejects(client.uploadFile({ sessionId, path: "broken" }, endless, { signal: stuck.signal }), /no patience/);
  assert.equal((await failure(bytesOf(client.workspaces.readFile({ sessionId, path: "broken" })))).reason, "FILE_NOT_FOUND");
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

test("turns are looked up, and listed by page and by status", async () => {
  const sessionId = await create(client);
  const sent: string[] = [];
  for (const text of [script({ say: "one" }), script({ error: "no" }), script({ say: "three" })]) {
    const turn = (await client.sessions.sendMessage({ sessionId, text, busyPolicy: BusyPolicy.QUEUE })).turn;
    sent.push(turn?.turnId ?? "");
  }
  for await (const event of client.watch({ sessionId, afterSequence: 0n })) {
    if (event.kind.case === "turnUpdated" && ends(event) && event.kind.value.turn?.turnId === sent[2]) {
      break;
    }
  }
  const first = await client.sessions.listTurns({ sessionId, pageSize: 2 });
  const second = await client.sessions.listTurns({ sessionId, pageSize: 2, pageToken: first.nextPageToken });
  assert.deepEqual([...first.turns, ...second.turns].map((turn) => turn.turnId), sent);
  assert.equal(second.nextPageToken, "");
  const failed = await client.sessions.listTurns({ sessionId, status: TurnStatus.FAILED });
  assert.deepEqual(failed.turns.map((turn) => turn.turnId), [sent[1]]);
  const { turn } = await client.sessions.getTurn({ sessionId, turnId: sent[0] ?? "" });
  assert.equal(turn?.status, TurnStatus.COMPLETED);
  const finished = client.sessions.cancelTurn({ sessionId, turnId: sent[0] ?? "" });
  assert.equal((await failure(finished)).reason, "TURN_FINISHED");
});

test("a standing answer is kept, listed, obeyed and removed", async () => {
  const sessionId = await create(client);
  const text = script({ ask: { tool: "Bash", input: { command: "ls" } }, then: [{ say: "It ran." }] });
  let asked = 0;
  const play = async (optionId: string): Promise<void> => {
    for await (const { kind } of client.runTurn({ sessionId, text })) {
      if (kind.case === "permissionRequested" && !kind.value.permission?.resolution) {
        asked++;
        const permissionId = kind.value.permission?.permissionId ?? "";
        await client.sessions.resolvePermission({ sessionId, permissionId, optionId });
      }
    }
  };
  await play("allow_always");
  const { rules } = await client.sessions.listPermissionRules({ sessionId });
  assert.deepEqual(rules.map((rule) => [rule.toolName, rule.effect]), [["Bash", PermissionEffect.ALLOW]]);
  assert.deepEqual((await snapshot(client, sessionId)).permissionRules, rules);
  await play("nobody is asked");
  assert.equal(asked, 1);
  await client.sessions.deletePermissionRule({ sessionId, ruleId: rules[0]?.ruleId ?? "" });
  assert.deepEqual((await client.sessions.listPermissionRules({ sessionId })).rules, []);
  await play("allow_once");
  assert.equal(asked, 2);
});

test("profiles are made, read, changed, listed and deleted", async () => {
  const environment = { GREETING: { source: { case: "value", value: "hi" } } } as const;
  const made = (await client.profiles.createProfile({ profile: { name: "kept", agent: "scripted", environment } })).profile;
  const profileId = made?.profileId ?? "";
  const updateMask = { paths: ["description"] };
  const changed = await client.profiles.updateProfile({ profile: { profileId, description: "better" }, updateMask });
  assert.deepEqual([changed.profile?.revision, changed.profile?.description], [2n, "better"]);
  const [newest, oldest] = [
    await client.profiles.getProfile({ profileId }),
    await client.profiles.getProfile({ profileId, revision: 1n }),
  ];
  assert.deepEqual([newest.profile?.description, oldest.profile?.description], ["better", ""]);
  const listed = await client.profiles.listProfiles({});
  assert.ok(listed.profiles.some((profile) => profile.profileId === profileId && profile.revision === 2n));
  const stale = client.profiles.deleteProfile({ profileId, etag: "stale" });
  assert.equal((await failure(stale)).reason, "ETAG_MISMATCH");
  await client.profiles.deleteProfile({ profileId });
  assert.equal((await failure(client.profiles.getProfile({ profileId }))).reason, "PROFILE_NOT_FOUND");
});

test("bytes in a message can be read by their hash", async (t) => {
  // The scripted agent takes no images. What is accepted is kept, also where the program that should see it ends at once.
  const unlucky = await own(t, "--sandbox", "process", "--claude-code", "/bin/false");
  const over = to(t, unlucky.addr, { key: unlucky.key });
  const { session } = await over.sessions.createSession({ agent: "claude-code" });
  const sessionId = session?.sessionId ?? "";
  const image = new Uint8Array(randomBytes(600_000));
  const value = { mediaType: "image/png", name: "noise", data: image };
  await over.sessions.sendMessage({ sessionId, parts: [{ part: { case: "image", value } }] });
  const message = (await blocksOf(over, sessionId))[0]?.content;
  const shown = message?.case === "userMessage" ? message.value.parts[0]?.part : undefined;
  const sha256 = createHash("sha256").update(image).digest("hex");
  assert.equal(shown?.case === "image" && shown.value.sha256, sha256);
  assert.deepEqual(await bytesOf(over.sessions.readBlob({ sessionId, sha256 })), image);
  assert.deepEqual(await bytesOf(over.sessions.readBlob({ sessionId, sha256, offset: 599_990n })), image.subarray(599_990));
  const missing = bytesOf(over.sessions.readBlob({ sessionId, sha256: "0".repeat(64) }));
  assert.equal((await failure(missing)).reason, "BLOB_NOT_FOUND");
});

test("a text that is too long to be inline is read whole", async () => {
  const sessionId = await create(client);
  const count = 20_000;
  for await (const event of client.runTurn({ sessionId, text: script({ count, size: 20 }), omitDeltas: true })) {
    assert.notEqual(event.kind.case, "blockDelta");
  }
  const block = (await snapshot(client, sessionId)).blocks.at(-1);
  assert.ok(block && block.truncatedBytes > 0n && block.state === BlockState.COMPLETE);
  assert.equal(await client.text(sessionId, block), numbers(count));
});

test("small files are written and deleted, and watchers hear of it", async () => {
  const sessionId = await create(client);
  const state = new State();
  const follows = (async () => {
    // From the beginning: a snapshot may come when all is over.
    for await (const event of client.watch({ sessionId, afterSequence: 0n })) {
      state.apply(event);
      if (event.kind.case === "filesChanged" && event.kind.value.changes.some(({ file }) => file?.path === "b")) {
        return;
      }
    }
  })();
  const [content, other] = [new TextEncoder().encode("hi"), new TextEncoder().encode("hello")];
  const { file } = await client.workspaces.writeFile({ sessionId, file: { path: "a", content }, ifSha256: "-" });
  const taken = client.workspaces.writeFile({ sessionId, file: { path: "a", content: other }, ifSha256: "-" });
  assert.equal((await failure(taken)).reason, "ETAG_MISMATCH");
  await client.workspaces.deleteFile({ sessionId, path: "a", ifSha256: file?.sha256 ?? "" });
  await client.workspaces.writeFile({ sessionId, file: { path: "b", content } });
  await follows;
  assert.deepEqual(state.value.files.map(({ path }) => path), ["b"]);
});

test("a session is saved and stopped, and works again", async () => {
  const sessionId = await create(client);
  await client.ask(sessionId, script({ run: "echo 1 > kept" }));
  assert.equal((await client.sessions.syncSession({ sessionId })).session?.sessionId, sessionId);
  assert.equal((await client.sessions.stopSession({ sessionId })).session?.status, SessionStatus.STOPPED);
  let said: unknown;
  for await (const block of client.run(sessionId, script({ run: "cat kept" }))) {
    said = block.content.case === "toolResult" && block.content.value.output.value;
  }
  assert.equal(said, "1\n");
});

for (const kind of ["grpc", "grpc-web"]) {
  test(`a list of sessions is live, over ${kind}`, async (t) => {
    const over = kind === "grpc" ? client : connectWeb(`http://${server.addr}`, { key: server.key });
    const labels = { list: kind };
    const names = ["one", "two", "three"];
    const ids: string[] = [];
    const make = async (name: string): Promise<void> => {
      const { session } = await client.sessions.createSession({ agent: "scripted", name, labels });
      ids.unshift(session?.sessionId ?? "");
    };
    await make("one");
    await make("two");
    const lists = over.watchSessions({ labels });
    t.after(() => lists.return());
    const until = async (is: (sessions: Session[]) => boolean): Promise<Session[]> => {
      for (let next = await lists.next(); !next.done; next = await lists.next()) {
        if (is(next.value)) {
          return next.value;
        }
      }
      throw new Error("the list ended");
    };
    assert.deepEqual((await until(() => true)).map(({ name }) => name), ["two", "one"]);
    await make("three");
    assert.deepEqual((await until((list) => list.length === 3)).map(({ sessionId }) => sessionId), ids);
    await client.sessions.stopSession({ sessionId: ids[2] ?? "" });
    await until((list) => list[2]?.status === SessionStatus.STOPPED);
    await client.sessions.deleteSession({ sessionId: ids[1] ?? "" });
    const left = await until((list) => list.length === 2);
    assert.deepEqual(left.map(({ name }) => name), [names[2], names[0]]);
    assert.deepEqual(left.map(({ sessionId }) => sessionId), (await client.sessions.listSessions({ labels })).sessions.map((s) => s.sessionId));
  });
}

test("the runtime says what it is and who you are", async () => {
  const info = await client.runtime.getRuntimeInfo({});
  assert.ok(info.agents.some(({ agent, unavailableReason }) => agent === "scripted" && unavailableReason === ""));
  assert.ok(info.scopes.length > 0 && (info.limits?.maxWriteFileBytes ?? 0n) > 0n);
});

test("calls that this version lacks say so", async () => {
  const sessionId = await create(client);
  const lacks = [
    () => client.sessions.exportTranscript({ sessionId })[Symbol.asyncIterator]().next(),
    () => client.runtime.createApiKey({}),
    () => client.runtime.listApiKeys({}),
    () => client.runtime.revokeApiKey({}),
  ];
  for (const call of lacks) {
    const refused = await failure(call());
    assert.deepEqual([refused.code, refused.reason], [Code.Unimplemented, "NOT_IMPLEMENTED"]);
  }
});

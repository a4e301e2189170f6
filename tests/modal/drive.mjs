// Drives the official JavaScript SDK through what people do with sandboxes. Every result is checked; the first wrong one ends it.
//
//     drive.mjs walk | gpu | more
//
// `walk` makes the calls of the golden traces and no others, `gpu` those of a sandbox with a GPU. scripts/modal.sh puts this beside the SDK that it drives.

import assert from "node:assert/strict";
import { ModalClient } from "modal";

const modal = new ModalClient();

async function walk() {
  const app = await modal.apps.fromName("rig-app-js", { createIfMissing: true });
  const image = modal.images.fromRegistry("node:20-slim").dockerfileCommands(["RUN npm i -g @anthropic-ai/claude-code"]);
  const sandbox = await modal.sandboxes.create(app, image, {
    command: ["sleep", "infinity"],
    timeoutMs: 3600_000,
    idleTimeoutMs: 600_000,
    env: { FOO: "bar" },
    secrets: [await modal.secrets.fromObject({ K: "v" })],
    tags: { session: "s1" },
  });
  const options = { workdir: "/tmp", env: { A: "1" }, timeoutMs: 30000 };
  const process_ = await sandbox.exec(["sh", "-c", "cat; echo err >&2; exit 3"], options);
  await process_.stdin.writeText("line1\n");
  await process_.stdin.close();
  assert.equal(await process_.stdout.readText(), "line1\n");
  assert.equal(await process_.stderr.readText(), "err\n");
  assert.equal(await process_.wait(), 3);
  await sandbox.filesystem.writeText("hello js\n", "/tmp/rig-fs-js.txt");
  assert.equal(await sandbox.filesystem.readText("/tmp/rig-fs-js.txt"), "hello js\n");
  const snapshot = await sandbox.snapshotFilesystem();
  assert.match(snapshot.imageId, /^im-/);
  const found = [];
  for await (const one of modal.sandboxes.list({ appId: app.appId, tags: { session: "s1" } })) found.push(one.sandboxId);
  assert.deepEqual(found, [sandbox.sandboxId]);
  assert.equal(await sandbox.poll(), null);
  await sandbox.terminate();
}

async function gpu() {
  const app = await modal.apps.fromName("rig-app-js", { createIfMissing: true });
  const image = modal.images.fromRegistry("node:20-slim").dockerfileCommands(["RUN npm i -g @anthropic-ai/claude-code"]);
  const sandbox = await modal.sandboxes.create(app, image, {
    command: ["sleep", "infinity"],
    timeoutMs: 3600_000,
    idleTimeoutMs: 600_000,
    cpu: 1,
    memoryMiB: 1024,
    gpu: "A10G",
  });
  const process_ = await sandbox.exec(["sh", "-c", "cat; echo err >&2; exit 3"]);
  await process_.stdin.writeText("line1\n");
  await process_.stdin.close();
  assert.equal(await process_.stdout.readText(), "line1\n");
  assert.equal(await process_.stderr.readText(), "err\n");
  assert.equal(await process_.wait(), 3);
  assert.equal(await sandbox.poll(), null);
  await sandbox.terminate();
}

async function more() {
  const app = await modal.apps.fromName("more-js", { createIfMissing: true });
  const image = modal.images.fromRegistry("debian:12");
  const sandbox = await modal.sandboxes.create(app, image, { timeoutMs: 600_000, tags: { a: "1" } });
  const again = await modal.sandboxes.fromId(sandbox.sandboxId);
  const text = async (argv, options) => (await sandbox.exec(argv, options)).stdout.readText();
  assert.equal(await text(["sh", "-c", "echo $A; pwd"], { env: { A: "x" }, workdir: "/srv" }), "x\n/srv\n");
  assert.equal((await text(["seq", "100000"])).length, 588895);
  const slow = await again.exec(["sleep", "1000"], { timeoutMs: 1000 });
  // Killed, or given up by the client: whichever comes first.
  assert.ok(await slow.wait().then((code) => code === 137, (error) => /Deadline/.test(error.message)));
  await assert.rejects(sandbox.filesystem.readText("/none"), { name: /NotFound/ });
  await sandbox.filesystem.writeText("kept", "/root/note");
  const entries = await sandbox.filesystem.listFiles("/root");
  assert.deepEqual(entries.map((entry) => [entry.name, entry.type]), [["note", "file"]]);
  const snapshot = await sandbox.snapshotFilesystem();
  const restored = await modal.sandboxes.create(app, snapshot, { timeoutMs: 600_000 });
  assert.equal(await restored.filesystem.readText("/root/note"), "kept");
  await sandbox.setTags({ b: "2" });
  assert.deepEqual(await again.getTags(), { b: "2" });
  for (const one of [sandbox, restored]) {
    await one.terminate();
    assert.equal(await one.wait(), 137);
  }
}

await { walk, gpu, more }[process.argv[2]]();
process.exit(0);

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";

import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";

import { type Block, type Client, State } from "../../src/index.js";
import { connect } from "../../src/node.js";
import { ENDLESS, numbers, script, Server } from "../support.js";
import { create, Host, type Seen, seen, send, signIn } from "./page.js";

let host: Host;
let server: Server;
let client: Client;
let browser: Browser;
let context: BrowserContext;
let page: Page;
let errors: unknown[];

// A text that takes minutes: it is interrupted when it grew enough.
const PACED = { count: 20_000, size: 20, pace_ms: 5 };

before(async () => {
  host = await Host.start();
  server = await Server.start("--cors-origin", host.origin);
  client = connect(server.addr, { key: server.key });
  const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
  // Its first start on a slow machine takes long.
  browser = await chromium.launch({ executablePath, timeout: 180_000 });
});

after(async () => {
  await browser?.close();
  client?.close();
  await server?.end();
  host?.end();
});

beforeEach(async () => {
  context = await browser.newContext({ viewport: { width: 1100, height: 800 } });
  context.setDefaultTimeout(60_000);
  page = await context.newPage();
  errors = [];
  page.on("pageerror", (error) => errors.push(error));
  await page.goto(host.origin);
});

afterEach(async (t) => {
  const folder = process.env["SCREENSHOTS"];
  if (folder) {
    await page.screenshot({ path: join(folder, `${t.name.replaceAll(/\W+/g, "-")}.png`) });
  }
  await context.close();
  assert.deepEqual(errors, []);
});

/** What the Node.js client makes of the session's whole log, told as the page tells it. */
async function folded(sessionId: string, by = client): Promise<Seen[]> {
  const state = new State();
  const { session } = await by.sessions.getSession({ sessionId });
  for await (const event of by.watch({ sessionId, afterSequence: 0n })) {
    state.apply(event);
    if (event.sequence >= (session?.sequence ?? 0n)) {
      break;
    }
  }
  return state.value.blocks.map((block) => ({
    kind: block.content.case ?? "",
    state: ["", "streaming", "complete", "interrupted"][block.state] ?? "",
    text: text(block),
  }));
}

function text({ content: { case: kind, value } }: Block): string {
  switch (kind) {
    case "userMessage":
      return value.parts.map(({ part }) => part.value).join("\n");
    case "assistantText":
    case "thinking":
      return value.text;
    case "toolUse":
      return JSON.stringify(JSON.parse(value.inputJson), null, 2);
    case "toolResult":
      return String(value.output.value);
    default:
      throw new Error(`no script here makes a ${kind}`);
  }
}

function turnSays(what: string): Promise<void> {
  return page.locator(".turn", { hasText: what }).waitFor();
}

/** Interrupts the turn whose text grows, and returns what the page shows then. */
async function interrupted(): Promise<Seen[]> {
  await page.getByRole("button", { name: "Interrupt" }).click();
  await turnSays("Interrupted");
  const blocks = await seen(page);
  const last = blocks.at(-1)?.text ?? "";
  assert.equal(last, numbers(Math.ceil(last.length / 20)).slice(0, last.length));
  return blocks;
}

/** Waits until the block that streams shows more text than this, and returns how much. */
async function grown(than: number): Promise<number> {
  const streams = page.locator(".blocks > li[data-kind=assistantText][data-state=streaming] .text");
  await streams.waitFor();
  const shows = await page.waitForFunction((length) => {
    const shown = document.querySelector(".blocks > li[data-state=streaming] .text")?.textContent?.length ?? 0;
    return shown > length && shown;
  }, than);
  return Number(await shows.jsonValue());
}

test("text grows while the agent writes it, and all kinds of blocks are shown", async () => {
  await signIn(page, server);
  const sessionId = await create(page, "grows");
  const steps = [{ think: "Hä? 😀", size: 1 }, { run: "echo 1 > one.txt; echo done" }, PACED];
  await send(page, script(...steps));
  let length = 0;
  for (let times = 0; times < 5; times++) {
    length = await grown(length);
  }
  const blocks = await interrupted();
  assert.deepEqual(
    blocks.map(({ kind, state }) => `${kind} ${state}`),
    [...["userMessage", "thinking", "toolUse", "toolResult"].map((kind) => `${kind} complete`), "assistantText interrupted"],
  );
  assert.ok((blocks.at(-1)?.text.length ?? 0) >= length);
  assert.deepEqual(blocks, await folded(sessionId));
  await page.getByText("Files (1)").click();
  await page.getByText("one.txt").first().waitFor();
});

test("a reload in the middle of a turn loses nothing", async () => {
  await signIn(page, server);
  const sessionId = await create(page, "reload");
  await send(page, script({ say: "First." }, { run: "echo hello" }, PACED));
  const before = await grown(0);
  await page.reload();
  // The same session, with what there was and what follows.
  assert.ok((await grown(before)) > before);
  assert.deepEqual(await interrupted(), await folded(sessionId));
});

test("a click gives permission, and the turn goes on", async () => {
  await signIn(page, server);
  const sessionId = await create(page, "asks");
  const ask = { tool: "Bash", input: { command: "make it so" } };
  const [first, second] = [{ ask, then: [{ say: "It ran." }] }, { ask, else: [{ say: "Well." }] }];
  await send(page, script(first, second));
  const card = page.getByRole("alert").filter({ hasText: "May Bash run?" });
  await card.locator("pre", { hasText: "make it so" }).waitFor();
  await page.locator("nav .status", { hasText: "needs you" }).waitFor();
  await card.getByRole("button", { name: "Allow", exact: true }).click();
  await page.getByText("It ran.", { exact: true }).waitFor();
  await card.getByRole("button", { name: "Reject", exact: true }).click();
  await page.getByText("Well.", { exact: true }).waitFor();
  await turnSays("Done");
  assert.equal(await card.count(), 0);
  assert.deepEqual(await seen(page), await folded(sessionId));
});

test("a question is answered", async () => {
  await signIn(page, server);
  await create(page, "question");
  const options = [{ label: "red", description: "As fire." }, { label: "blue", description: "As the sea." }];
  const question = [{ question: "Which colour?", header: "Colour", options, multiSelect: false }];
  await send(page, script({ question, then: [{ say: "So be it." }] }));
  await page.getByRole("group", { name: "Which colour?" }).getByLabel("blue").check();
  await page.getByRole("button", { name: "Answer" }).click();
  await page.getByText("So be it.", { exact: true }).waitFor();
  const results = (await seen(page)).filter(({ kind }) => kind === "toolResult");
  assert.match(results[0]?.text ?? "", /blue/);
});

test("a long text is shown whole to who asks, and leaving forgets the key", async () => {
  await signIn(page, server);
  await create(page, "long");
  await send(page, script({ count: 20_000, size: 20 }));
  await turnSays("Done");
  const isCut = (await seen(page)).at(-1)?.text.length;
  assert.ok(isCut && isCut < 400_000);
  await page.getByRole("button", { name: "Show the other" }).click();
  await page.waitForFunction((than) => {
    const shown = document.querySelector(".blocks > li:last-child .text")?.textContent ?? "";
    return shown.length > than;
  }, isCut);
  assert.equal((await seen(page)).at(-1)?.text, numbers(20_000));
  await page.getByRole("button", { name: "Leave" }).click();
  await page.getByLabel("Key").waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.ok(!page.url().includes("#"));
});

test("the list is live", async () => {
  const { session } = await client.sessions.createSession({ agent: "scripted", name: "from elsewhere" });
  const sessionId = session?.sessionId ?? "";
  await signIn(page, server);
  const row = page.locator(`[data-session="${sessionId}"]`);
  await row.getByText("idle").waitFor();
  await client.sessions.sendMessage({ sessionId, text: ENDLESS });
  await row.getByText("working").waitFor();
  await row.getByRole("link").click();
  await grown(0);
  await page.getByRole("button", { name: "Interrupt" }).click();
  await turnSays("Interrupted");
  await row.getByText("idle").waitFor();
  await client.sessions.deleteSession({ sessionId });
  await row.waitFor({ state: "detached" });
  await page.getByText("The session was deleted.").waitFor();
  assert.ok(!(await page.getByLabel("Message").isVisible()));
});

test("a page of a foreign origin gets nothing", async () => {
  const foreign = await Host.start();
  try {
    const before = (await client.sessions.listSessions({})).sessions.length;
    await page.goto(foreign.origin);
    await signIn(page, server);
    await page.getByText(`was it started with --cors-origin ${foreign.origin}?`).waitFor();
    assert.equal(await page.getByRole("navigation").count(), 0);
    // A request that needs no leave of the server is no call.
    const url = `http://${server.addr}/agentruntime.v1.SessionService/CreateSession`;
    const answers = await page.evaluate(
      async ([to, key]) => {
        const headers = { "content-type": "application/grpc-web+proto", authorization: `Bearer ${key}` };
        const body = new Uint8Array(5);
        const asked = await fetch(to ?? "", { method: "POST", headers, body }).then(() => "an answer", () => "nothing");
        const blind = await fetch(to ?? "", { method: "POST", mode: "no-cors", body }).then(({ type }) => type, () => "nothing");
        return [asked, blind];
      },
      [url, server.key],
    );
    assert.deepEqual(answers, ["nothing", "opaque"]);
    assert.equal((await client.sessions.listSessions({})).sessions.length, before);
  } finally {
    foreign.end();
  }
});

test("a wrong key is refused in words", async () => {
  await signIn(page, server, "wrong");
  await page.locator(".failure", { hasText: /key/i }).waitFor();
  assert.equal(await page.getByRole("navigation").count(), 0);
  await signIn(page, server);
  await page.getByRole("navigation").waitFor();
});

test("a server that is killed and started again is followed further", async (t) => {
  const fragile = await Server.start("--cors-origin", host.origin);
  t.after(() => fragile.end());
  const observer = connect(fragile.addr, { key: fragile.key });
  t.after(() => observer.close());
  await signIn(page, fragile);
  const sessionId = await create(page, "outage");
  await send(page, script({ say: "First." }, PACED));
  const status = page.locator("#connection");
  let length = 0;
  for (let times = 0; times < 2; times++) {
    length = await grown(length);
    await fragile.kill();
    await status.filter({ hasText: "Connection lost" }).waitFor();
    await fragile.start();
    await status.filter({ hasText: "Connected" }).waitFor();
  }
  await grown(length);
  assert.deepEqual(await interrupted(), await folded(sessionId, observer));
});

test("a phone shows one thing at a time, and nothing is cut off", async () => {
  await page.setViewportSize({ width: 360, height: 740 });
  await signIn(page, server);
  await create(page, "a name that is rather long for so narrow a screen, as names are");
  const command = `echo ${"x".repeat(300)}`;
  await send(page, script({ say: "y".repeat(300) }, { ask: { tool: "Bash", input: { command } } }));
  await page.getByRole("button", { name: "Allow", exact: true }).waitFor();
  const sideways = (parts: Element[]): boolean => parts.some((part) => part.scrollWidth > part.clientWidth);
  assert.ok(!(await page.locator("html, .scrolls").evaluateAll(sideways)), "it scrolls sideways");
  assert.ok(!(await page.getByRole("navigation").isVisible()));
  await page.getByRole("button", { name: "Allow", exact: true }).click();
  await turnSays("Done");
  await page.getByRole("link", { name: "All sessions" }).click();
  await page.getByRole("navigation").waitFor();
  assert.ok(!(await page.getByLabel("Message").isVisible()));
});

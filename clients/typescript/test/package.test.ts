// What is published: packed, installed into an empty project, type-checked there, run, and bundled for browsers.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

import { script, Server } from "./support.js";

// From build/test.
const PACKAGE = fileURLToPath(new URL("../../", import.meta.url));

let server: Server;
let folder: string;
let project: string;

before(async () => {
  server = await Server.start();
  folder = mkdtempSync(join(tmpdir(), "art"));
  project = join(folder, "project");
  mkdirSync(project);
  npm(PACKAGE, "pack", "--pack-destination", folder);
  const tarballs = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  assert.deepEqual(tarballs, ["agent-runtime-client-0.1.0.tgz"]);
  writeFileSync(join(project, "package.json"), '{ "private": true, "type": "module" }');
  npm(project, "install", join(folder, tarballs[0] ?? ""));
});

after(async () => {
  await server.end();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs npm, up to three times: what comes over the network fails now and then. What it fails with tells what it printed. */
function npm(cwd: string, ...args: string[]): void {
  const quiet = ["--prefix", cwd, "--no-audit", "--no-fund", "--loglevel=error"];
  for (let left = 2; ; left--) {
    try {
      execFileSync("npm", [...args, ...quiet], { cwd, stdio: "pipe" });
      return;
    } catch (why) {
      if (left === 0) {
        throw why;
      }
    }
  }
}

/**
 * Type-checks a program in the project as strictly as can be, and compiles it. The libraries are the compiler's own choice, DOM
 * included: Connect's types need it, also where there is none.
 */
function compile(name: string, source: string, types: string[], moduleResolution: string): string {
  const compilerOptions = {
    target: "es2022",
    module: moduleResolution === "bundler" ? "esnext" : moduleResolution,
    moduleResolution,
    types,
    // The project has no types of Node.js of its own.
    typeRoots: [join(PACKAGE, "node_modules", "@types")],
    strict: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
  };
  writeFileSync(join(project, `${name}.ts`), source);
  const config = join(project, `tsconfig.${name}.json`);
  writeFileSync(config, JSON.stringify({ compilerOptions, files: [`${name}.ts`] }));
  execFileSync(process.execPath, [join(PACKAGE, "node_modules", "typescript", "bin", "tsc"), "-p", config], { stdio: "inherit" });
  return join(project, `${name}.js`);
}

test("the package holds what is built, its types and its README, and nothing else", () => {
  const root = join(project, "node_modules", "@agent-runtime", "client");
  const files = readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((name) => !name.startsWith("node_modules") && statSync(join(root, name)).isFile());
  const built = readdirSync(join(PACKAGE, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .flatMap((name) => [`dist/${name.replace(/ts$/, "js")}`, `dist/${name.replace(/ts$/, "d.ts")}`]);
  assert.deepEqual(files.sort(), ["LICENSE", "README.md", "package.json", ...built].sort());
});

test("the README's first program runs in an empty project", () => {
  const shown = readFileSync(join(PACKAGE, "README.md"), "utf8").split("```ts\n");
  assert.equal(shown.length, 2, "README has one program");
  const program = shown[1]?.split("```")[0] ?? "";
  assert.ok(program.trimEnd().split("\n").length <= 20);
  assert.equal(program, readFileSync(join(PACKAGE, "examples", "first.ts"), "utf8"));
  const first = compile("first", program, ["node"], "nodenext");
  const steps = script({ think: "Hm." }, { say: "I look.\nNow." }, { run: "echo 1 > one.txt; echo done" });
  const env = { ...process.env, ADDR: server.addr, KEY: server.key, SCRIPT: steps };
  const printed = execFileSync(process.execPath, [first], { env, encoding: "utf8" });
  const [answer, ...lines] = printed.split("\n");
  assert.match(answer ?? "", /^answer: .*hello/);
  const blocks = ["thinking: Hm.", "assistant_text: I look.", "Now.", "tool_use: Bash", "tool_result: done", ""];
  assert.deepEqual(lines, [`user_message: ${steps}`, ...blocks, "file: one.txt", ""]);
});

test("a browser's bundle of it has nothing of Node.js, and runs", async () => {
  const source = `import { connect, kindOf, type SessionState, State } from "@agent-runtime/client/web";
    export async function main(address: string, key: string): Promise<SessionState> {
      const client = connect(address, { key });
      const { session } = await client.sessions.createSession({ agent: "scripted" });
      const kinds: string[] = [];
      for await (const block of client.run(session?.sessionId ?? "", "hello")) {
        kinds.push(kindOf(block));
      }
      const state = new State();
      for await (const event of client.watch({ sessionId: session?.sessionId ?? "" })) {
        state.apply(event);
        if (event.kind.case === "snapshotComplete") {
          break;
        }
      }
      return state.value;
    }`;
  const web = compile("web", source, [], "bundler");
  const outfile = join(project, "bundle.js");
  const { metafile } = await build({
    entryPoints: [web],
    outfile,
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    metafile: true,
    logLevel: "error",
  });
  assert.ok(!Object.keys(metafile.inputs).some((name) => name.includes("connect-node")));
  const bundle = (await import(outfile)) as { main: (address: string, key: string) => Promise<{ blocks: unknown[] }> };
  assert.equal((await bundle.main(`http://${server.addr}`, server.key)).blocks.length, 2);
});

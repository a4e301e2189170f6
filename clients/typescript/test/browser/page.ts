// The example's page in a real browser, served from an origin of its own.

import { createServer, type Server as Listener } from "node:http";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";
import type { Page } from "playwright-core";

import type { Server } from "../support.js";

// From build/test/browser.
const EXAMPLE = fileURLToPath(new URL("../../../examples/browser/", import.meta.url));
const TYPES: Record<string, string> = { ".html": "text/html", ".css": "text/css", ".js": "text/javascript" };

/** Serves the page; each one is another origin. */
export class Host {
  private constructor(
    readonly folder: string,
    readonly listener: Listener,
  ) {}

  static async start(): Promise<Host> {
    const folder = mkdtempSync(join(tmpdir(), "art"));
    const entryPoints = [join(EXAMPLE, "src", "main.ts")];
    await build({ entryPoints, bundle: true, format: "esm", outdir: folder, logLevel: "error" });
    const listener = createServer((request, response) => {
      const name = request.url === "/" ? "/index.html" : (request.url ?? "");
      const type = TYPES[extname(name)];
      if (!type || name.includes("..")) {
        response.writeHead(404).end();
        return;
      }
      const body = readFileSync(join(name === "/main.js" ? folder : EXAMPLE, name));
      response.writeHead(200, { "content-type": type }).end(body);
    });
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    return new Host(folder, listener);
  }

  get origin(): string {
    const address = this.listener.address();
    return address && typeof address === "object" ? `http://127.0.0.1:${address.port}` : "";
  }

  end(): void {
    this.listener.closeAllConnections();
    this.listener.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Says to the page where the server is, and who calls. */
export async function signIn(page: Page, server: Server, key = server.key): Promise<void> {
  await page.getByLabel("Server").fill(`http://${server.addr}`);
  await page.getByLabel("Key").fill(key);
  await page.getByRole("button", { name: "Connect" }).click();
}

/** Creates a session on the page, and returns its id. */
export async function create(page: Page, name: string): Promise<string> {
  await page.getByLabel("Agent").selectOption("scripted");
  await page.getByLabel("Name").fill(name);
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("heading", { name, level: 2 }).waitFor();
  return new URL(page.url()).hash.slice(1);
}

/** Sends the open session a message. */
export async function send(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message").fill(text);
  await page.getByRole("button", { name: "Send" }).click();
}

/** A block as the page shows it. */
export interface Seen {
  kind: string;
  state: string;
  text: string;
}

/** All blocks that the page shows. */
export function seen(page: Page): Promise<Seen[]> {
  return page.locator(".blocks > li").evaluateAll((rows) =>
    rows.map((row) => ({
      kind: (row as HTMLElement).dataset["kind"] ?? "",
      state: (row as HTMLElement).dataset["state"] ?? "",
      text: row.querySelector(".text")?.textContent ?? "",
    })),
  );
}

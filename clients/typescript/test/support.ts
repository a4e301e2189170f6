// A real server's process, and a connection to it that can be cut.

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect as dial, createServer, type Server as Listener, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

// From build/test.
const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));

// A file that takes too long is told to end, and so are its servers: what they print is waited for.
const running = new Set<ChildProcess>();
process.once("SIGTERM", () => {
  running.forEach((child) => child.kill("SIGTERM"));
  process.exit(1);
});

/** A server on a free port, with a data folder that outlives its process. */
export class Server {
  readonly data = mkdtempSync(join(tmpdir(), "art"));
  addr = "127.0.0.1:0";
  #process: ChildProcess | undefined;

  private constructor(readonly options: string[]) {}

  static async start(...options: string[]): Promise<Server> {
    const server = new Server(options);
    await server.start();
    return server;
  }

  /** Starts it, again on the same port, which another program's outgoing connection may have taken for a while. */
  async start(): Promise<void> {
    for (let tries = 1; !(await this.#listens()); tries++) {
      if (tries === 240 || this.addr.endsWith(":0")) {
        throw new Error("the server did not say where it listens");
      }
      await pause(250);
    }
  }

  /** Starts it, once; whether it listens. */
  async #listens(): Promise<boolean> {
    const target = process.env["CARGO_TARGET_DIR"] ?? join(ROOT, "target");
    const program = process.env["SERVER_UNDER_TEST"] || join(target, "debug", "agent-runtime");
    const args = ["serve", "--listen", this.addr, "--data", this.data, ...this.options];
    const env = { ...process.env, AGENT_RUNTIME_ON_SHUTDOWN: "stop", RUST_LOG: "error" };
    const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "inherit"] });
    this.#process = child;
    running.add(child);
    child.once("exit", () => running.delete(child));
    for await (const line of createInterface({ input: child.stdout })) {
      if (line.startsWith("listening on ")) {
        this.addr = line.slice("listening on ".length).trim();
        return true;
      }
    }
    return false;
  }

  get key(): string {
    return readFileSync(join(this.data, "key"), "utf8");
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  /** Stops it, until it gets SIGCONT; it may go on for a while after the signal was sent. */
  async standStill(): Promise<void> {
    this.signal("SIGSTOP");
    const tasks = `/proc/${this.#process?.pid}/task`;
    // Where there is no such folder, nobody can tell.
    while (existsSync(tasks) && readdirSync(tasks).some((task) => !/\) [Tt] /.test(readFileSync(`${tasks}/${task}/stat`, "utf8")))) {
      await pause(5);
    }
  }

  /** As a crash would. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Politely, with its agents. */
  async end(): Promise<void> {
    await this.#end("SIGTERM");
    rmSync(this.data, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (child && child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill(signal);
      await ended;
    }
  }
}

/** What becomes of a connection that was silent for so long: it is cut, or its bytes go nowhere and nobody is told. */
export interface Silence {
  ms: number;
  how: "cut" | "forget";
}

/** A connection to a server that can be cut, whose answers can be lost, and that may not like silence. */
export class Proxy {
  losesAnswers = false;
  /** Bytes that came from the server. */
  answered = 0;
  /** Connections that were silent for too long. */
  silences = 0;
  /** How many more connections end as soon as they are made. */
  refuses = 0;
  readonly #listener: Listener;
  readonly #open = new Set<Socket>();

  private constructor(server: Server, silence?: Silence) {
    this.#listener = createServer((client) => {
      if (this.refuses > 0) {
        this.refuses--;
        client.destroy();
        return;
      }
      const [host, port] = server.addr.split(":");
      const upstream = dial(Number(port), host);
      let isForgotten = false;
      const silent = (): void => {
        this.silences++;
        isForgotten = true;
        if (silence?.how === "cut") {
          client.destroy();
        }
      };
      let guard = silence && setTimeout(silent, silence.ms);
      for (const side of [client, upstream]) {
        this.#open.add(side);
        side.on("error", () => side.destroy());
        side.on("close", () => {
          clearTimeout(guard);
          this.#open.delete(side);
          client.destroy();
          upstream.destroy();
        });
        side.on("data", (bytes) => {
          if (isForgotten) {
            return;
          }
          if (silence) {
            clearTimeout(guard);
            guard = setTimeout(silent, silence.ms);
          }
          if (side === client) {
            upstream.write(bytes);
            return;
          }
          this.answered += bytes.length;
          if (!this.losesAnswers) {
            client.write(bytes);
          }
        });
      }
    });
  }

  static async to(server: Server, silence?: Silence): Promise<Proxy> {
    const proxy = new Proxy(server, silence);
    await new Promise<void>((resolve) => proxy.#listener.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get addr(): string {
    const address = this.#listener.address();
    return address && typeof address === "object" ? `127.0.0.1:${address.port}` : "";
  }

  /** Ends all connections; new ones are taken. */
  cut(): void {
    this.#open.forEach((side) => side.destroy());
  }

  close(): void {
    this.#listener.close();
    this.cut();
  }
}

/** A message that the scripted agent plays. */
export function script(...steps: object[]): string {
  return JSON.stringify(steps);
}

/** 400 deltas in two seconds, each a number of 19 digits and a space. */
export const LONG = script({ count: 400, size: 20, pace_ms: 5 });

/** A turn that no test waits for: it goes on until it is stopped. */
export const ENDLESS = script({ count: 200_000, size: 20, pace_ms: 5 });

export function numbers(last: number): string {
  return Array.from({ length: last }, (_, at) => `${String(at + 1).padStart(19, "0")} `).join("");
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

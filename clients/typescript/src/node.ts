// Node.js: gRPC over HTTP/2.

import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

import { Client } from "./client.js";

export * from "./index.js";

/** How to connect. */
export interface ConnectOptions {
  /** What goes after "Bearer ". */
  key?: string;
  /** The certificates to trust, in PEM; turns TLS on. */
  ca?: string | Uint8Array;
}

/** A client of the server at `HOST:PORT`, or at an http:// or https:// address. The connection is made when it is needed. */
export function connect(addr: string, { key = "", ca }: ConnectOptions = {}): Client {
  const scheme = ca === undefined ? "http" : "https";
  const baseUrl = addr.includes("://") ? addr.replace(/\/$/, "") : `${scheme}://${addr}`;
  const nodeOptions = ca === undefined ? {} : { ca: typeof ca === "string" ? ca : Buffer.from(ca) };
  const pings = { pingIntervalMs: 20_000, pingTimeoutMs: 10_000 };
  const sessionManager = new Http2SessionManager(baseUrl, pings, nodeOptions);
  // No response is larger than 4 MiB; the rest is for what wraps it.
  const transport = createGrpcTransport({ baseUrl, sessionManager, readMaxBytes: 5 << 20 });
  return new Client(transport, key, () => sessionManager.abort());
}

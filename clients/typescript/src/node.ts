// Node.js: gRPC over HTTP/2.

import { Code, type Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

import { Client } from "./client.js";
import { AgentRuntimeError } from "./error.js";

export * from "./index.js";

/** How to connect. */
export interface ConnectOptions {
  /** What goes after "Bearer ". */
  key?: string;
  /** The certificates to trust, in PEM; turns TLS on. */
  ca?: string | Uint8Array;
  /**
   * After how many milliseconds of silence it is asked whether the connection still lives.
   *
   * @internal
   */
  pingIntervalMs?: number;
}

/** A client of the server at `HOST:PORT`, or at an http:// or https:// address. The connection is made when it is needed. */
export function connect(addr: string, { key = "", ca, pingIntervalMs = 20_000 }: ConnectOptions = {}): Client {
  const scheme = ca === undefined ? "http" : "https";
  const baseUrl = addr.includes("://") ? addr.replace(/\/$/, "") : `${scheme}://${addr}`;
  if (ca !== undefined && !/^https:/i.test(baseUrl)) {
    // The key would go out in the clear, to whoever answers.
    const message = `${addr} is not over TLS, so there is nothing to trust a certificate for: say https`;
    throw new AgentRuntimeError(message, Code.InvalidArgument);
  }
  const nodeOptions = ca === undefined ? {} : { ca: typeof ca === "string" ? ca : Buffer.from(ca) };
  const connections: Http2SessionManager[] = [];
  let newest: Transport;
  // What goes on over the earlier ones stays there: that one stream is silent does not say that all are.
  const apart = (): void => {
    const ended = (connection: Http2SessionManager): boolean => ["closed", "error", "idle"].includes(connection.state());
    connections.splice(0, Infinity, ...connections.filter((connection) => !ended(connection) || connection.abort()));
    const sessionManager = new Http2SessionManager(baseUrl, { pingIntervalMs, pingTimeoutMs: 10_000 }, nodeOptions);
    connections.push(sessionManager);
    // No response is larger than 4 MiB; the rest is for what wraps it.
    newest = createGrpcTransport({ baseUrl, sessionManager, readMaxBytes: 5 << 20 });
  };
  apart();
  const transport: Transport = {
    unary: (...call) => newest.unary(...call),
    stream: (...call) => newest.stream(...call),
  };
  return new Client(transport, key, { apart, end: () => connections.forEach((connection) => connection.abort()) });
}

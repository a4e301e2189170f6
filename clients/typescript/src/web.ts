// Browsers: grpc-web. The server has to name the page's origin with --cors-origin.

import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { Client } from "./client.js";

export * from "./index.js";

/** A client of the server at an http:// or https:// address. */
export function connect(baseUrl: string, { key = "" }: { key?: string } = {}): Client {
  return new Client(createGrpcWebTransport({ baseUrl }), key);
}

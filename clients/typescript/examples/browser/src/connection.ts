// Whether what the page shows is live, in one line. Every stream of the page tells it.

import type { AgentRuntimeError } from "@agent-runtime/client/web";

import { byId, say } from "./dom.js";

const cut = new Set<object>();

/** What a stream tells of its connection; `gone` when it is not wanted any more. */
export function link(): { onConnection: (isOpen: boolean, why?: AgentRuntimeError) => void; gone: () => void } {
  const stream = {};
  // Not live before its first answer.
  cut.add(stream);
  const show = (change: () => void): void => {
    change();
    const isLive = cut.size === 0;
    byId("connection").dataset["live"] = String(isLive);
    say(byId("connection"), isLive ? "Connected" : "Connection lost. It comes back by itself.");
  };
  return {
    onConnection: (isOpen) => show(() => (isOpen ? cut.delete(stream) : cut.add(stream))),
    gone: () => show(() => cut.delete(stream)),
  };
}

/** There is no connection to speak of. */
export function silent(): void {
  cut.clear();
  delete byId("connection").dataset["live"];
  say(byId("connection"), "");
}

// Which server, and with which key: asked once for as long as the tab is open.

import { type Client, connect, type GetRuntimeInfoResponse } from "@agent-runtime/client/web";

import { el, labelled } from "./dom.js";
import { ofFailure } from "./words.js";

const KEPT = "agent-runtime";

/** A server that answered. */
export interface Access {
  client: Client;
  info: GetRuntimeInfoResponse;
}

/** Asks the server that was named last, or the person where there is none. */
export async function access(page: HTMLElement): Promise<Access> {
  const { server = "http://127.0.0.1:50051", key } = JSON.parse(sessionStorage.getItem(KEPT) ?? "{}") as Record<string, string>;
  if (key !== undefined) {
    try {
      return await opened(server, key);
    } catch (failure) {
      return asked(page, server, ofFailure(failure));
    }
  }
  return asked(page, server, "");
}

/** Forgets the server and its key. */
export function forget(): void {
  sessionStorage.removeItem(KEPT);
}

async function opened(server: string, key: string): Promise<Access> {
  const client = connect(server.replace(/\/$/, ""), { key });
  const info = await client.runtime.getRuntimeInfo({});
  sessionStorage.setItem(KEPT, JSON.stringify({ server, key }));
  return { client, info };
}

function asked(page: HTMLElement, named: string, why: string): Promise<Access> {
  return new Promise((resolve) => {
    const server = el("input", { type: "url", name: "server", required: true, value: named });
    const key = el("input", { type: "password", name: "key", autocomplete: "off" });
    const button = el("button", { type: "submit", class: "yes" }, "Connect");
    const refused = el("p", { class: "failure", role: "alert" }, why);
    const submit = (event: Event): void => {
      event.preventDefault();
      button.disabled = true;
      refused.textContent = "";
      opened(server.value, key.value)
        .then(resolve)
        .catch((failure: unknown) => (refused.textContent = ofFailure(failure)))
        .finally(() => (button.disabled = false));
    };
    const hint = el("p", { class: "hint" }, "The server's data folder has it in a file of that name.");
    const fields = [labelled("Server", server), labelled("Key", key), hint];
    page.replaceChildren(el("main", { class: "access" }, el("form", { submit }, ...fields, button, refused)));
    (named ? key : server).focus();
  });
}

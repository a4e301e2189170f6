// The list of sessions, live, and the form that makes another.

import { type Session } from "@agent-runtime/client/web";

import type { Access } from "./access.js";
import { link } from "./connection.js";
import { el, labelled, say } from "./dom.js";
import { ofFailure, ofSession } from "./words.js";

/** The list, for as long as the page is open. */
export class Sessions {
  readonly element: HTMLElement;
  readonly #list = el("ul");
  readonly #empty = el("p", { class: "hint", hidden: true }, "There are no sessions yet.");
  readonly #failure = el("p", { class: "failure", role: "alert" });
  readonly #rows = new Map<string, Row>();

  constructor({ client, info }: Access) {
    const agents = info.agents.map(({ agent, unavailableReason }) =>
      el("option", { value: agent, disabled: unavailableReason !== "", title: unavailableReason }, agent),
    );
    const agent = el("select", { name: "agent" }, ...agents);
    const name = el("input", { type: "text", name: "name", maxlength: "200" });
    const button = el("button", { type: "submit", class: "yes" }, "Create");
    const submit = (event: Event): void => {
      event.preventDefault();
      button.disabled = true;
      say(this.#failure, "");
      client.sessions
        .createSession({ agent: agent.value, name: name.value })
        .then(({ session }) => {
          name.value = "";
          location.hash = session?.sessionId ?? "";
        })
        .catch((failure: unknown) => say(this.#failure, ofFailure(failure)))
        .finally(() => (button.disabled = false));
    };
    const form = el("form", { submit, "aria-label": "New session" }, labelled("Agent", agent), labelled("Name", name), button);
    this.element = el("nav", { "aria-label": "Sessions" }, el("h2", {}, "Sessions"), form, this.#failure, this.#empty, this.#list);
    void this.#follow(client);
  }

  /** Marks the session that is open. */
  select(sessionId: string): void {
    for (const [id, { anchor }] of this.#rows) {
      if (id === sessionId) {
        anchor.setAttribute("aria-current", "page");
      } else {
        anchor.removeAttribute("aria-current");
      }
    }
  }

  async #follow(client: Access["client"]): Promise<void> {
    const { onConnection, gone } = link();
    try {
      for await (const sessions of client.watchSessions({}, { onConnection })) {
        this.#show(sessions);
      }
    } catch (failure) {
      say(this.#failure, ofFailure(failure));
      gone();
    }
  }

  #show(sessions: Session[]): void {
    const rows = sessions.map((session) => {
      const row = this.#rows.get(session.sessionId) ?? new Row(session.sessionId);
      this.#rows.set(session.sessionId, row);
      row.update(session);
      return row.element;
    });
    // Only what moved is moved, so that who has the focus keeps it.
    rows.forEach((row, at) => {
      if (this.#list.children[at] !== row) {
        this.#list.insertBefore(row, this.#list.children[at] ?? null);
      }
    });
    while (this.#list.children.length > rows.length) {
      this.#rows.delete((this.#list.lastElementChild as HTMLElement).dataset["session"] ?? "");
      this.#list.lastElementChild?.remove();
    }
    this.#empty.hidden = rows.length > 0;
    this.select(location.hash.slice(1));
  }
}

class Row {
  readonly anchor: HTMLAnchorElement;
  readonly element: HTMLLIElement;
  readonly #name = el("span", { class: "name" });
  readonly #status = el("span", { class: "status" });

  constructor(sessionId: string) {
    this.anchor = el("a", { href: `#${sessionId}` }, this.#name, " ", this.#status);
    this.element = el("li", { "data-session": sessionId }, this.anchor);
  }

  update({ name, sessionId, agent, status }: Session): void {
    say(this.#name, name || sessionId);
    say(this.#status, ofSession(status));
    this.#status.dataset["status"] = ofSession(status);
    this.anchor.title = `${agent}, ${sessionId}`;
  }
}

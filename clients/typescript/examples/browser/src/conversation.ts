// One session: followed from a snapshot, folded, shown, and talked to.

import { BusyPolicy, type Client, type SessionEvent, State, type Turn } from "@agent-runtime/client/web";

import { Asks } from "./asks.js";
import { BlockView } from "./block.js";
import { link } from "./connection.js";
import { el, labelled, say } from "./dom.js";
import { ofFailure, ofSession, ofTurn } from "./words.js";

/** A session that is open. */
export class Conversation {
  readonly element: HTMLElement;
  readonly #state = new State();
  readonly #views = new Map<string, BlockView>();
  readonly #changed = new Set<string>();
  readonly #leave = new AbortController();
  readonly #title = el("h2", { tabindex: "-1" });
  readonly #about = el("p", { class: "hint" });
  readonly #files = el("details", { class: "files", hidden: true });
  readonly #blocks = el("ol", { class: "blocks", "aria-label": "Conversation" });
  readonly #asks: Asks;
  readonly #turn = el("p", { class: "turn", role: "status" });
  readonly #failure = el("p", { class: "failure", role: "alert" });
  readonly #message = el("textarea", { name: "message", rows: "2", required: true });
  readonly #stop: HTMLButtonElement;
  readonly #scrolls: HTMLElement;
  // Whoever has scrolled up stays there.
  #isAtEnd = true;
  #isDrawing = false;
  #isWhole = false;

  constructor(readonly client: Client, readonly sessionId: string) {
    const failed = (failure: unknown): void => say(this.#failure, ofFailure(failure));
    this.#asks = new Asks(client, sessionId, failed);
    this.#stop = el("button", { type: "button", class: "no", hidden: true, click: () => void this.#interrupt() }, "Interrupt");
    const form = el(
      "form",
      { class: "composer", submit: (event) => void this.#send(event) },
      labelled("Message", this.#message),
      el("p", { class: "buttons" }, this.#turn, this.#stop, el("button", { type: "submit", class: "yes" }, "Send")),
    );
    this.#message.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    const back = el("a", { href: "#", class: "back" }, "All sessions");
    const head = el("div", { class: "head" }, back, this.#title, this.#about, this.#files);
    this.#scrolls = el("div", { class: "scrolls" }, head, this.#blocks, this.#asks.element);
    this.#scrolls.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.#scrolls;
      this.#isAtEnd = scrollHeight - scrollTop - clientHeight < 40;
    });
    new ResizeObserver(() => this.#scroll()).observe(this.#scrolls);
    this.element = el("main", {}, this.#scrolls, this.#failure, form);
    say(this.#title, sessionId);
    void this.#follow();
  }

  /** Ends it on the page. The session and its turn go on. */
  close(): void {
    this.#leave.abort();
  }

  /** Says which session this is to who cannot see it. */
  focus(): void {
    this.#title.focus();
  }

  async #follow(): Promise<void> {
    const { onConnection, gone } = link();
    try {
      const options = { signal: this.#leave.signal, onConnection };
      for await (const event of this.client.watch({ sessionId: this.sessionId }, options)) {
        this.#apply(event);
      }
      say(this.#failure, "The session was deleted.");
      this.element.lastElementChild?.toggleAttribute("hidden", true);
    } catch (failure) {
      if (!this.#leave.signal.aborted) {
        say(this.#failure, ofFailure(failure));
      }
    } finally {
      gone();
    }
  }

  #apply(event: SessionEvent): void {
    const changed = this.#state.apply(event);
    const { kind } = event;
    if (kind.case === "snapshotStart") {
      this.#isWhole = false;
    } else if (kind.case === "snapshotComplete") {
      this.#isWhole = true;
      this.#views.clear();
      this.#blocks.replaceChildren();
      this.#state.value.blocks.forEach((block) => this.#changed.add(block.blockId));
    } else if (changed) {
      this.#changed.add(changed.blockId);
    }
    // However many events come, the page is drawn once a frame, and not at all while nobody sees it.
    if (this.#isWhole && !this.#isDrawing) {
      this.#isDrawing = true;
      requestAnimationFrame(() => this.#draw());
    }
  }

  #draw(): void {
    this.#isDrawing = false;
    for (const id of this.#changed) {
      const block = this.#state.block(id);
      const view = this.#views.get(id);
      if (block && view) {
        view.update(block);
      } else if (block) {
        const made = new BlockView(this.client, this.sessionId, block);
        this.#views.set(id, made);
        this.#blocks.append(made.element);
      }
    }
    this.#changed.clear();
    this.#drawSession();
    this.#asks.update(this.#state.value);
    this.#scroll();
  }

  #scroll(): void {
    if (this.#isAtEnd) {
      this.#scrolls.scrollTop = this.#scrolls.scrollHeight;
    }
  }

  #drawSession(): void {
    const { session, turns, files } = this.#state.value;
    if (!session) {
      return;
    }
    say(this.#title, session.name || session.sessionId);
    say(this.#about, [session.agent, ofSession(session.status), session.error?.message].filter(Boolean).join(" · "));
    const active: Turn | undefined = session.activeTurn;
    const waiting = session.queuedTurns.length;
    say(this.#turn, ofTurn(active ?? turns.at(-1)) + (waiting > 0 ? `; ${waiting} more to come` : ""));
    this.#turn.dataset["active"] = String(active !== undefined);
    this.#blocks.setAttribute("aria-busy", String(active !== undefined));
    this.#stop.hidden = active === undefined;
    this.#files.hidden = files.length === 0;
    const listed = files.map(({ path, sizeBytes }) => el("li", {}, path, " ", el("span", { class: "hint" }, `${sizeBytes} bytes`)));
    this.#files.replaceChildren(el("summary", {}, `Files (${files.length})`), el("ul", {}, ...listed));
  }

  async #send(event: Event): Promise<void> {
    event.preventDefault();
    const text = this.#message.value;
    this.#message.value = "";
    say(this.#failure, "");
    try {
      await this.client.sessions.sendMessage({ sessionId: this.sessionId, text, busyPolicy: BusyPolicy.QUEUE });
    } catch (failure) {
      say(this.#failure, ofFailure(failure));
      this.#message.value ||= text;
    }
  }

  async #interrupt(): Promise<void> {
    try {
      await this.client.sessions.interruptTurn({ sessionId: this.sessionId });
    } catch (failure) {
      say(this.#failure, ofFailure(failure));
    }
  }
}

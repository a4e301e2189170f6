// One block of a conversation, as it is shown. A view is made once and then follows its block.

import { type Block, BlockState, type Client, type ContentPart } from "@agent-runtime/client/web";

import { el, say } from "./dom.js";
import { ofBlock, ofExecution, ofFailure } from "./words.js";

/** What of a block is shown, whatever its kind. */
interface Shown {
  label: string;
  status: string;
  /** In one line, beside the label. */
  hint?: string;
  text: string;
  /** The text is written by people or models, and not by machines. */
  isProse?: boolean;
  /** Worth a look only for who asks: always, or once it is complete. */
  folds?: "always" | "later";
}

/** A block's place in the list. */
export class BlockView {
  readonly element: HTMLLIElement;
  readonly #label = el("strong");
  readonly #hint = el("span", { class: "hint" });
  readonly #status = el("span", { class: "status" });
  readonly #text = el("div", { class: "text" });
  readonly #more: HTMLButtonElement;
  readonly #details: HTMLDetailsElement;
  #block: Block;
  #whole: string | undefined;

  constructor(client: Client, sessionId: string, block: Block) {
    this.#block = block;
    const showAll = (): void => void this.#showAll(client, sessionId);
    this.#more = el("button", { type: "button", class: "more", hidden: true, click: showAll });
    const summary = el("summary", {}, this.#label, " ", this.#hint, " ", this.#status);
    this.#details = el("details", { open: true }, summary, this.#text, this.#more);
    this.element = el("li", {}, this.#details);
    this.update(block);
  }

  /** Shows the block as it is now. */
  update(block: Block): void {
    const isNew = this.element.dataset["state"] === undefined;
    const was = this.#block.state;
    this.#block = block;
    const { label, status, hint = "", text, isProse = false, folds } = shown(block);
    this.element.dataset["kind"] = block.content.case ?? "unknown";
    this.element.dataset["state"] = ofBlock(block.state);
    this.element.dataset["status"] = status;
    this.element.classList.toggle("of-subagent", block.conversationId !== "main");
    say(this.#label, label);
    say(this.#hint, hint);
    say(this.#status, status);
    say(this.#text, this.#whole ?? text);
    this.#text.classList.toggle("prose", isProse);
    this.#text.hidden = text === "";
    this.#more.hidden = block.truncatedBytes === 0n || this.#whole !== undefined;
    say(this.#more, `Show the other ${block.truncatedBytes} bytes`);
    // Whoever opened or closed it later knows better.
    if (isNew || (was === BlockState.STREAMING && block.state !== BlockState.STREAMING)) {
      this.#details.open = folds === undefined || (folds === "later" && block.state === BlockState.STREAMING);
    }
  }

  async #showAll(client: Client, sessionId: string): Promise<void> {
    this.#more.disabled = true;
    try {
      this.#whole = await client.text(sessionId, this.#block);
      this.update(this.#block);
    } catch (failure) {
      say(this.#more, ofFailure(failure));
    }
    this.#more.disabled = false;
  }
}

function shown({ content, state }: Block): Shown {
  const status = ofBlock(state);
  switch (content.case) {
    case "userMessage":
      return { label: "You", status, text: content.value.parts.map(ofPart).join("\n"), isProse: true };
    case "assistantText":
      return { label: "Agent", status, text: content.value.text, isProse: true };
    case "thinking": {
      const { summary: hint, text } = content.value;
      return { label: "Thinking", status, hint, text, isProse: true, folds: "later" };
    }
    case "toolUse": {
      const { toolName, displayName, description, inputJson, status: execution } = content.value;
      const [label, hint] = [displayName || toolName, description || gist(inputJson)];
      return { label, status: ofExecution(execution), hint, text: pretty(inputJson), folds: "always" };
    }
    case "toolResult": {
      const { output, isError, exitCode } = content.value;
      const ended = exitCode === undefined ? status : `exit code ${exitCode}`;
      const text = output.case === "parts" ? output.value.parts.map(ofPart).join("\n") : (output.value ?? "");
      return { label: isError ? "Error" : "Result", status: ended, text };
    }
    case "subagent": {
      const { name, input: hint, output: text, status: execution } = content.value;
      return { label: `Subagent ${name}`, status: ofExecution(execution), hint, text, isProse: true, folds: "later" };
    }
    case "system":
      return { label: "Note", status: "", hint: content.value.message, text: "" };
    case "error":
      return { label: "Error", status, text: content.value.message };
    case undefined:
      return { label: "Something newer than this page", status, text: "" };
  }
}

function ofPart({ part }: ContentPart): string {
  switch (part.case) {
    case "text":
      return part.value;
    case "image":
    case "attachment":
      return `[${part.value.name || part.value.mediaType}]`;
    case "imageUri":
    case "filePath":
      return `[${part.value}]`;
    case undefined:
      return "[something newer than this page]";
  }
}

/** JSON with its lines, or what there is of it while it streams. */
export function pretty(json: string): string {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

/** The first text in a tool's input: a command, a path, a pattern. */
function gist(json: string): string {
  try {
    const first: unknown = Object.values(JSON.parse(json) as object).find((value) => typeof value === "string");
    return typeof first === "string" ? first : "";
  } catch {
    return "";
  }
}

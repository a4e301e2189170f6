// What the agent waits for: permissions and questions, and the buttons that answer them.

import {
  AgentRuntimeError,
  type Client,
  type PermissionRequest,
  PermissionOptionKind,
  type Question,
  type QuestionItem,
  type SessionState,
} from "@agent-runtime/client/web";

import { pretty } from "./block.js";
import { el, labelled } from "./dom.js";

/** The cards of what is open. */
export class Asks {
  readonly element = el("section", { class: "asks", "aria-label": "The agent asks" });
  // What is open keeps its card, and so what was typed into it.
  #cards = new Map<string, HTMLElement>();

  constructor(
    readonly client: Client,
    readonly sessionId: string,
    readonly failed: (failure: unknown) => void,
  ) {}

  /** Shows what is open now. */
  update({ permissions, questions }: SessionState): void {
    const cards = new Map<string, HTMLElement>();
    for (const asked of permissions.filter((permission) => !permission.resolution)) {
      cards.set(asked.permissionId, this.#cards.get(asked.permissionId) ?? this.#permission(asked));
    }
    for (const asked of questions.filter((question) => !question.resolution)) {
      cards.set(asked.questionId, this.#cards.get(asked.questionId) ?? this.#question(asked));
    }
    if ([...cards.keys()].join() !== [...this.#cards.keys()].join()) {
      this.#cards = cards;
      this.element.replaceChildren(...cards.values());
    }
  }

  #permission({ permissionId, title, toolName, inputJson, options }: PermissionRequest): HTMLElement {
    const { sessionId } = this;
    const buttons = options.map(({ optionId, name, kind }) => {
      // What leaves a rule is said in full by its name, and is nobody's first choice by its colour.
      const look = kind === PermissionOptionKind.ALLOW_ONCE ? "yes" : kind === PermissionOptionKind.REJECT_ONCE ? "no" : "";
      const resolve = (event: Event): void => {
        const request = { sessionId, permissionId, optionId };
        void this.#answer(event, () => this.client.sessions.resolvePermission(request));
      };
      return el("button", { type: "button", class: look, "data-option": optionId, click: resolve }, name);
    });
    const heading = el("h3", {}, `May ${toolName} run?`);
    const parts = [heading, ...(title ? [el("p", {}, title)] : []), el("pre", {}, pretty(inputJson))];
    return el("article", { role: "alert" }, ...parts, el("p", { class: "buttons" }, ...buttons));
  }

  #question({ questionId, items }: Question): HTMLElement {
    const { sessionId } = this;
    const forms = items.map((item, at) => new Item(`${questionId}-${at}`, item));
    const answer = (event: Event): void => {
      event.preventDefault();
      const answers = forms.map((form) => form.answer());
      void this.#answer(event, () => this.client.sessions.answerQuestion({ sessionId, questionId, answers }));
    };
    const decline = (event: Event): void =>
      void this.#answer(event, () => this.client.sessions.answerQuestion({ sessionId, questionId }));
    const buttons = [
      el("button", { type: "submit", class: "yes" }, "Answer"),
      el("button", { type: "button", class: "no", click: decline }, "Decline"),
    ];
    const fields = forms.map((form) => form.element);
    return el("article", { role: "alert" }, el("form", { submit: answer }, ...fields, el("p", { class: "buttons" }, ...buttons)));
  }

  async #answer(event: Event, call: () => Promise<unknown>): Promise<void> {
    const card = (event.target as Element).closest("article");
    const buttons = card?.querySelectorAll("button") ?? [];
    buttons.forEach((button) => (button.disabled = true));
    try {
      // The card goes when the log says that it is answered, by whomever.
      await call();
    } catch (failure) {
      if (!(failure instanceof AgentRuntimeError) || failure.reason !== "ALREADY_RESOLVED") {
        this.failed(failure);
        buttons.forEach((button) => (button.disabled = false));
      }
    }
  }
}

/** One question of several that are asked together. */
class Item {
  readonly element: HTMLElement;
  readonly #choices: HTMLInputElement[];
  readonly #text = el("input", { type: "text" });

  constructor(name: string, { text, choices, multiple }: QuestionItem) {
    const type = multiple ? "checkbox" : "radio";
    this.#choices = choices.map(({ label }) => el("input", { type, name, value: label }));
    const rows = this.#choices.map((input, at) => {
      const description = choices[at]?.description;
      const about = el("span", { class: "hint" }, description ?? "");
      return el("label", { class: "choice" }, input, " ", el("strong", {}, input.value), " ", about);
    });
    this.element = el("fieldset", {}, el("legend", {}, text), ...rows, labelled("In your words", this.#text));
  }

  answer(): { choices: string[]; text: string } {
    return { choices: this.#choices.filter((input) => input.checked).map((input) => input.value), text: this.#text.value };
  }
}

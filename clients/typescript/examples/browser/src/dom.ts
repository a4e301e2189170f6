// Making elements. Text is only ever text here, so nothing that an agent says becomes markup.

type Attributes = Record<string, string | boolean | ((event: Event) => void)>;

/** An element with attributes, listeners (functions) and children. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      made.addEventListener(name, value);
    } else if (typeof value === "boolean") {
      made.toggleAttribute(name, value);
    } else {
      made.setAttribute(name, value);
    }
  }
  made.append(...children);
  return made;
}

/** An element of the page itself. */
export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) {
    throw new Error(`the page has no #${id}`);
  }
  return found;
}

/** Sets text only where it differs, so that selections and screen readers are left in peace. */
export function say(target: Node, text: string): void {
  if (target.textContent !== text) {
    target.textContent = text;
  }
}

/** A field with its label around it. */
export function labelled(label: string, field: HTMLElement): HTMLLabelElement {
  return el("label", {}, el("span", {}, label), field);
}

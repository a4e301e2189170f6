// The page: first a server and a key, then its sessions, and the one that the address names.

import { access, forget } from "./access.js";
import { silent } from "./connection.js";
import { Conversation } from "./conversation.js";
import { byId, el } from "./dom.js";
import { Sessions } from "./sessions.js";

const page = byId("page");
const leave = byId("leave");
leave.addEventListener("click", () => {
  forget();
  location.replace(location.pathname);
});

silent();
const granted = await access(page);
leave.hidden = false;
const sessions = new Sessions(granted);
const nothing = el("main", { class: "nothing" }, el("p", { class: "hint" }, "Choose a session, or create one."));
page.replaceChildren(sessions.element, nothing);

let open: Conversation | undefined;
function show(): void {
  const sessionId = location.hash.slice(1);
  open?.close();
  open = sessionId === "" ? undefined : new Conversation(granted.client, sessionId);
  page.lastElementChild?.replaceWith(open?.element ?? nothing);
  page.classList.toggle("open", open !== undefined);
  sessions.select(sessionId);
  open?.focus();
}
window.addEventListener("hashchange", show);
show();

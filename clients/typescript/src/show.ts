// A block in one line: what it is, and what it says.

import { type Block, BlockSchema, type ContentPart } from "./gen/agentruntime/v1/block_pb.js";

/** What the block is, as the contract spells it: `assistant_text` and so on; empty for a kind newer than this client. */
export function kindOf({ content }: Block): string {
  return content.case ? BlockSchema.field[content.case].name : "";
}

/**
 * What the block says, as far as it is inline: its text, its message, or the name of the tool or subagent that is called.
 * `Client.text` has all of a text that is too long to be inline.
 */
export function wordsOf({ content: { case: kind, value } }: Block): string {
  switch (kind) {
    case "userMessage":
      return texts(value.parts);
    case "assistantText":
    case "thinking":
      return value.text;
    case "toolUse":
      return value.toolName;
    case "toolResult":
      return value.output.case === "parts" ? texts(value.output.value.parts) : (value.output.value ?? "");
    case "subagent":
      return value.name;
    case "system":
    case "error":
      return value.message;
    case undefined:
      return "";
  }
}

function texts(parts: ContentPart[]): string {
  return parts.map(({ part }) => (part.case === "text" ? part.value : "")).join("");
}

"""A block in one line."""

from __future__ import annotations

from collections.abc import Iterable

from . import pb

_WORDS = {
    "assistant_text": "text",
    "thinking": "text",
    "tool_use": "tool_name",
    "system": "message",
    "subagent": "name",
    "error": "message",
}


def words(block: pb.Block) -> str:
    """What a block says, as far as it is inline: its text, its message, or the name of the tool or subagent called.

    `Client.text` has all of a text that is too long to be inline.
    """
    kind = block.WhichOneof("content")
    if kind == "user_message":
        return _texts(block.user_message.parts)
    if kind == "tool_result":
        result = block.tool_result
        return result.text or result.output_json or _texts(result.parts.parts)
    return str(getattr(getattr(block, kind), _WORDS[kind])) if kind else ""


def _texts(parts: Iterable[pb.ContentPart]) -> str:
    return "".join(part.text for part in parts)

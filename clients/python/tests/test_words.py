"""A block in one line."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import Parse

import agentruntime
from agentruntime import pb

BLOCKS = [
    ('{"userMessage":{"parts":[{"text":"a"},{"imageUri":"https://x"},{"text":"b"}]}}', "user_message", "ab"),
    ('{"assistantText":{"text":"hello","model":"m"}}', "assistant_text", "hello"),
    ('{"thinking":{"text":"hm","summary":"s"}}', "thinking", "hm"),
    ('{"toolUse":{"toolName":"Bash","displayName":"List","inputJson":"{}"}}', "tool_use", "Bash"),
    ('{"toolResult":{"text":"1"}}', "tool_result", "1"),
    ('{"toolResult":{"outputJson":"[1]"}}', "tool_result", "[1]"),
    ('{"toolResult":{"parts":{"parts":[{"text":"p"}]}}}', "tool_result", "p"),
    ('{"toolResult":{}}', "tool_result", ""),
    ('{"system":{"message":"note"}}', "system", "note"),
    ('{"subagent":{"name":"reviewer","output":"ok"}}', "subagent", "reviewer"),
    ('{"error":{"message":"broken"}}', "error", "broken"),
    ("{}", None, ""),
]


@pytest.mark.parametrize(("json", "kind", "words"), BLOCKS)
def test_a_block_is_told_in_one_line(json: str, kind: str | None, words: str) -> None:
    block = Parse(json, pb.Block())
    assert (block.WhichOneof("content"), agentruntime.words(block)) == (kind, words)
    with agentruntime.connect("127.0.0.1:1") as client:
        # All of a tool's call is what the tool is given.
        assert client.text("ses_1", block) == (block.tool_use.input_json or words)


def test_every_kind_has_its_words() -> None:
    kinds = {field.name for field in pb.Block.DESCRIPTOR.oneofs_by_name["content"].fields}
    assert kinds == {kind for _, kind, _ in BLOCKS if kind}

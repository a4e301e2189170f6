package agentruntime

import (
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

func TestABlockIsToldInOneLine(t *testing.T) {
	t.Parallel()
	client := dial(t, "127.0.0.1:1", Options{})
	for _, block := range []struct{ json, kind, words string }{
		{`{"userMessage":{"parts":[{"text":"a"},{"imageUri":"https://x"},{"text":"b"}]}}`, "user_message", "ab"},
		{`{"assistantText":{"text":"hello","model":"m"}}`, "assistant_text", "hello"},
		{`{"thinking":{"text":"hm","summary":"s"}}`, "thinking", "hm"},
		{`{"toolUse":{"toolName":"Bash","displayName":"List","inputJson":"{}"}}`, "tool_use", "Bash"},
		{`{"toolResult":{"text":"1\n"}}`, "tool_result", "1\n"},
		{`{"toolResult":{"outputJson":"[1]"}}`, "tool_result", "[1]"},
		{`{"toolResult":{"parts":{"parts":[{"text":"p"}]}}}`, "tool_result", "p"},
		{`{"toolResult":{}}`, "tool_result", ""},
		{`{"system":{"message":"note"}}`, "system", "note"},
		{`{"subagent":{"name":"reviewer","output":"ok"}}`, "subagent", "reviewer"},
		{`{"error":{"message":"broken"}}`, "error", "broken"},
		{`{}`, "", ""},
	} {
		var message v1.Block
		must(t, protojson.Unmarshal([]byte(block.json), &message))
		if kind, words := Kind(&message), Words(&message); kind != block.kind || words != block.words {
			t.Errorf("%s: %q, %q", block.json, kind, words)
		}
		// All of a tool's call is what the tool is given.
		text, err := client.Text(t.Context(), "ses_1", &message)
		must(t, err)
		if call := message.GetToolUse(); call != nil && text != call.GetInputJson() || call == nil && text != block.words {
			t.Errorf("all of %s: %q", block.json, text)
		}
	}
	content := (&v1.Block{}).ProtoReflect().Descriptor().Oneofs().ByName("content").Fields().Len()
	if content != 8 {
		t.Errorf("%d kinds of blocks: each needs its words", content)
	}
}

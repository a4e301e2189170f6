package agentruntime

import (
	"strings"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

// Kind is what a block is, as the contract spells it: "assistant_text", "tool_use" and so on; empty for a kind newer than this
// client.
func Kind(block *v1.Block) string {
	kind, _ := contentOf(block)
	return kind
}

// Words is what a block says, as far as it is inline: its text, its message, or the name of the tool or subagent that is
// called. [Client.Text] has all of a text that is too long to be inline.
func Words(block *v1.Block) string {
	result := block.GetToolResult()
	// A block has one of these; what it does not have is empty.
	return texts(block.GetUserMessage().GetParts()) +
		block.GetAssistantText().GetText() + block.GetThinking().GetText() + block.GetToolUse().GetToolName() +
		result.GetText() + result.GetOutputJson() + texts(result.GetParts().GetParts()) +
		block.GetSystem().GetMessage() + block.GetSubagent().GetName() + block.GetError().GetMessage()
}

func texts(parts []*v1.ContentPart) string {
	var text strings.Builder
	for _, part := range parts {
		text.WriteString(part.GetText())
	}
	return text.String()
}

package agentruntime

import (
	"strings"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

// Kind is what a block is, as the contract spells it: "assistant_text", "tool_use" and so on; empty for a kind newer than this
// client.
func Kind(block *v1.Block) string {
	message := block.ProtoReflect()
	if content := message.WhichOneof(message.Descriptor().Oneofs().ByName("content")); content != nil {
		return string(content.Name())
	}
	return ""
}

// Words is what a block says, as far as it is inline: its text, its message, or the name of the tool or subagent that is
// called. [Client.Text] has all of a text that is too long to be inline.
func Words(block *v1.Block) string {
	switch content := block.GetContent().(type) {
	case *v1.Block_UserMessage:
		return texts(content.UserMessage.GetParts())
	case *v1.Block_AssistantText:
		return content.AssistantText.GetText()
	case *v1.Block_Thinking:
		return content.Thinking.GetText()
	case *v1.Block_ToolUse:
		return content.ToolUse.GetToolName()
	case *v1.Block_ToolResult:
		result := content.ToolResult
		return result.GetText() + result.GetOutputJson() + texts(result.GetParts().GetParts())
	case *v1.Block_System:
		return content.System.GetMessage()
	case *v1.Block_Subagent:
		return content.Subagent.GetName()
	case *v1.Block_Error:
		return content.Error.GetMessage()
	}
	return ""
}

func texts(parts []*v1.ContentPart) string {
	var text strings.Builder
	for _, part := range parts {
		text.WriteString(part.GetText())
	}
	return text.String()
}

package agentruntime

import (
	"context"
	"iter"
	"strings"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

// Run gives the agent a message and yields each block of its turn whenever it changed: the same block as it grows, so copy
// what is to be kept. It ends with an [*Error] if the turn does not complete.
func (c *Client) Run(ctx context.Context, sessionID, text string) iter.Seq2[*v1.Block, error] {
	return c.run(ctx, named(&v1.RunTurnRequest{SessionId: sessionID, Text: text}))
}

// Ask gives the agent a message and returns what it writes to the user, with a blank line between two blocks. It fails with an
// [*Error] if the turn does not complete.
func (c *Client) Ask(ctx context.Context, sessionID, text string) (string, error) {
	var order []string
	blocks := map[string]*v1.Block{}
	for block, err := range c.run(ctx, named(&v1.RunTurnRequest{SessionId: sessionID, Text: text, OmitDeltas: true})) {
		if err != nil {
			return "", err
		}
		if block.GetAssistantText() != nil && block.GetConversationId() == "main" {
			if blocks[block.GetBlockId()] == nil {
				order = append(order, block.GetBlockId())
			}
			blocks[block.GetBlockId()] = block
		}
	}
	texts := make([]string, len(order))
	for i, id := range order {
		whole, err := c.Text(ctx, sessionID, blocks[id])
		if err != nil {
			return "", err
		}
		texts[i] = whole
	}
	return strings.Join(texts, "\n\n"), nil
}

// Text is the whole text of a block that the agent wrote, also what was too long to be inline.
func (c *Client) Text(ctx context.Context, sessionID string, block *v1.Block) (string, error) {
	if block.GetTruncatedBytes() == 0 {
		return block.GetAssistantText().GetText() + block.GetThinking().GetText(), nil
	}
	data, err := readAll(c.ReadBlockContent(ctx, &v1.ReadBlockContentRequest{SessionId: sessionID, BlockId: block.GetBlockId()}))
	return string(data), err
}

func (c *Client) run(ctx context.Context, request *v1.RunTurnRequest) iter.Seq2[*v1.Block, error] {
	return func(yield func(*v1.Block, error) bool) {
		var state State
		var turn *v1.Turn
		for event, err := range c.RunTurn(ctx, request) {
			if err != nil {
				yield(nil, err)
				return
			}
			state.Apply(event)
			if block := state.Block(blockID(event)); block != nil && !yield(block, nil) {
				return
			}
			if updated := event.GetTurnUpdated().GetTurn(); updated != nil {
				turn = updated
			}
		}
		// Changes of other turns do not come, and the end of this one is the last event.
		if turn.GetStatus() != v1.TurnStatus_TURN_STATUS_COMPLETED {
			yield(nil, errorOfTurn(turn))
		}
	}
}

// blockID is the id of the block that the event is about.
func blockID(event *v1.SessionEvent) string {
	switch kind := event.GetKind().(type) {
	case *v1.SessionEvent_BlockStart:
		return kind.BlockStart.GetBlock().GetBlockId()
	case *v1.SessionEvent_BlockDelta:
		return kind.BlockDelta.GetBlockId()
	case *v1.SessionEvent_BlockUpdate:
		return kind.BlockUpdate.GetBlockId()
	case *v1.SessionEvent_BlockComplete:
		return kind.BlockComplete.GetBlock().GetBlockId()
	}
	return ""
}

package agentruntime

import (
	"cmp"
	"context"
	"io"
	"iter"
	"slices"
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
	var answers []*v1.Block
	for block, err := range c.run(ctx, &v1.RunTurnRequest{SessionId: sessionID, Text: text, OmitDeltas: true}) {
		if err != nil {
			return "", err
		}
		if block.GetAssistantText() != nil && block.GetConversationId() == "main" && !slices.Contains(answers, block) {
			answers = append(answers, block)
		}
	}
	texts := make([]string, len(answers))
	for i, block := range answers {
		var err error
		if texts[i], err = c.Text(ctx, sessionID, block); err != nil {
			return "", err
		}
	}
	return strings.Join(texts, "\n\n"), nil
}

// Text is the whole text of a block, also what was too long to be inline; of a tool's call, what the tool is given.
func (c *Client) Text(ctx context.Context, sessionID string, block *v1.Block) (string, error) {
	if call := block.GetToolUse(); block.GetTruncatedBytes() == 0 {
		if call != nil {
			return call.GetInputJson(), nil
		}
		return Words(block), nil
	}
	request := &v1.ReadBlockContentRequest{SessionId: sessionID, BlockId: block.GetBlockId()}
	data, err := io.ReadAll(Bytes(c.ReadBlockContent(ctx, request)))
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
			if block := state.Apply(event); block != nil && !yield(block, nil) {
				return
			}
			// Changes of other turns do not come, and the end of this one is the last event.
			turn = cmp.Or(event.GetTurnUpdated().GetTurn(), turn)
		}
		if turn.GetStatus() != v1.TurnStatus_TURN_STATUS_COMPLETED {
			yield(nil, errorOfTurn(turn))
		}
	}
}

package agentruntime

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

// RunTurn gives the agent a message, once, and streams its turn up to its end. Hanging up does not cancel it. A second range
// over it follows the same turn from its start, for as long as the server remembers its id.
func (c *Client) RunTurn(ctx context.Context, request *v1.RunTurnRequest) iter.Seq2[*v1.SessionEvent, error] {
	once := named(request)
	return func(yield func(*v1.SessionEvent, error) bool) {
		// Its AfterSequence is the cursor. Its id is the same again and again: a message that was taken is not sent twice.
		request, turnID := proto.CloneOf(once), ""
		run := stream[v1.RunTurnResponse]{client: c, silence: c.silence, cursor: &request.AfterSequence}
		run.open = func(ctx context.Context) (grpc.ServerStreamingClient[v1.RunTurnResponse], error) {
			return c.SessionServiceClient.RunTurn(ctx, request)
		}
		run.take = func(response *v1.RunTurnResponse) (bool, error) {
			if response.GetTurn() != nil {
				turnID = response.GetTurn().GetTurnId()
				request.AfterSequence = cmp.Or(request.AfterSequence, &response.Sequence)
			}
			return pass(response.GetEvents(), &request.AfterSequence, yield, endOf(turnID))
		}
		run.follow(ctx, func(err error) {
			if turnID != "" && isForgotten(err) {
				c.restOfTurn(ctx, request, turnID, yield)
				return
			}
			yield(nil, err)
		})
	}
}

// endOf is whether an event is the last of that turn.
func endOf(turnID string) func(*v1.SessionEvent) bool {
	return func(event *v1.SessionEvent) bool {
		turn := event.GetTurnUpdated().GetTurn()
		return turn.GetEndTime() != nil && turn.GetTurnId() == turnID
	}
}

// isForgotten is whether the server no longer knows the request that the cursor goes with: it keeps them for a day, and a turn
// may wait for an answer for longer.
func isForgotten(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && refused.Reason == "INVALID_FIELD" &&
		slices.ContainsFunc(refused.FieldViolations, func(bad *errdetails.BadRequest_FieldViolation) bool {
			return bad.GetField() == "after_sequence"
		})
}

// restOfTurn streams what follows the request's cursor of a turn, out of all that happens in its session.
func (c *Client) restOfTurn(ctx context.Context, request *v1.RunTurnRequest, turnID string, yield func(*v1.SessionEvent, error) bool) {
	watch := stream[v1.WatchSessionResponse]{client: c, silence: c.silence, cursor: &request.AfterSequence}
	watch.open = func(ctx context.Context) (grpc.ServerStreamingClient[v1.WatchSessionResponse], error) {
		return c.WatchSession(ctx, &v1.WatchSessionRequest{
			SessionId: request.GetSessionId(), AfterSequence: request.AfterSequence, OmitDeltas: request.GetOmitDeltas(),
		})
	}
	others := map[string]bool{}
	watch.take = func(response *v1.WatchSessionResponse) (bool, error) {
		return pass(response.GetEvents(), &request.AfterSequence, func(event *v1.SessionEvent, err error) bool {
			return isOfOther(turnID, others, event) || yield(event, err)
		}, endOf(turnID))
	}
	watch.follow(ctx, func(err error) { yield(nil, err) })
}

// isOfOther is whether an event is of another turn. What follows of a block does not name its turn: the others' are kept.
func isOfOther(turnID string, others map[string]bool, event *v1.SessionEvent) bool {
	block := cmp.Or(event.GetBlockStart().GetBlock(), event.GetBlockComplete().GetBlock())
	turn := cmp.Or(block.GetTurnId(), event.GetTurnQueued().GetTurn().GetTurnId(), event.GetTurnUpdated().GetTurn().GetTurnId(),
		event.GetPermissionRequested().GetPermission().GetTurnId(), event.GetQuestionRequested().GetQuestion().GetTurnId())
	if turn != "" && turn != turnID {
		if block != nil {
			others[block.GetBlockId()] = true
		}
		return true
	}
	return others[cmp.Or(event.GetBlockDelta().GetBlockId(), event.GetBlockUpdate().GetBlockId())]
}

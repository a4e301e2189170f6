package agentruntime

import (
	"context"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

// forgetful is a connection after more than a day: turns that are taken up again are named by an id that nobody remembers.
type forgetful struct {
	grpc.ClientStream
	asked *atomic.Int64
}

func (f forgetful) SendMsg(message any) error {
	if request, ok := message.(*v1.RunTurnRequest); ok && request.AfterSequence != nil {
		f.asked.Add(1)
		request = proto.CloneOf(request)
		request.RequestId = "of-the-day-before-yesterday"
		message = request
	}
	return f.ClientStream.SendMsg(message)
}

func TestATurnThatWaitedForLongerThanItsIDIsKeptIsFollowedToItsEnd(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	forgets := func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		stream, err := open(ctx, desc, conn, method, opts...)
		return forgetful{stream, &asked}, err
	}
	ctx, direct, proxy := within(t, patience), shared.client(t), proxied(t, shared)
	client := dial(t, proxy.addr, Options{Key: shared.key(), GRPC: []grpc.DialOption{grpc.WithChainStreamInterceptor(forgets)}})
	id := create(t, direct)
	send := func(text string) string {
		sent, err := direct.SendMessage(ctx, &v1.SendMessageRequest{SessionId: id, Text: text, BusyPolicy: v1.BusyPolicy_BUSY_POLICY_QUEUE})
		must(t, err)
		return sent.GetTurn().GetTurnId()
	}
	send(endless)
	var got []*v1.SessionEvent
	var mine, between string
	request := &v1.RunTurnRequest{SessionId: id, Text: script(step{"say": "At last."}), BusyPolicy: v1.BusyPolicy_BUSY_POLICY_QUEUE}
	for event, err := range client.RunTurn(ctx, request) {
		must(t, err)
		got = append(got, event)
		switch {
		case event.GetTurnQueued() != nil:
			mine = event.GetTurnQueued().GetTurn().GetTurnId()
			proxy.cut()
		case asked.Load() > 0 && between == "":
			// A whole turn of another comes before it, and one waits behind it.
			sent, err := direct.SendMessage(ctx, &v1.SendMessageRequest{
				SessionId: id, Text: script(step{"say": "Me first."}), BusyPolicy: v1.BusyPolicy_BUSY_POLICY_INTERRUPT,
			})
			must(t, err)
			between = sent.GetTurn().GetTurnId()
			send(script(step{"say": "Too late."}))
		}
	}
	if asked.Load() != 1 || between == "" {
		t.Errorf("it was taken up %d times", asked.Load())
	}
	turnOf := map[string]string{}
	for _, block := range all(t, Pages(ctx, direct.ListBlocks, &v1.ListBlocksRequest{SessionId: id}), (*v1.ListBlocksResponse).GetBlocks) {
		turnOf[block.GetBlockId()] = block.GetTurnId()
	}
	var said string
	for _, event := range got {
		if block := event.GetBlockStart().GetBlock(); block != nil && block.GetTurnId() != mine {
			t.Errorf("a block of another turn came: %v", block)
		}
		if delta := event.GetBlockDelta(); turnOf[delta.GetBlockId()] == mine {
			said += delta.GetDelta()
		} else if turnOf[delta.GetBlockId()] == between {
			t.Errorf("text of another turn came: %v", delta)
		}
		if turn := event.GetTurnUpdated().GetTurn(); turn != nil && turn.GetTurnId() != mine {
			t.Errorf("a change of another turn came: %v", turn)
		}
	}
	if said != "At last." || got[len(got)-1].GetTurnUpdated().GetTurn().GetStatus() != v1.TurnStatus_TURN_STATUS_COMPLETED {
		t.Errorf("it says %q, and ends with %v", said, got[len(got)-1])
	}
}

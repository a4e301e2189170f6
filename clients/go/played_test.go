package agentruntime

import (
	"fmt"
	"net"
	"slices"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

// played is a server that says what the real one says seldom, or never. What it is asked for is kept.
type played struct {
	v1.UnimplementedSessionServiceServer
	// says are the frames of one stream after the other, and how each ends.
	says []saying
	// asked are the cursors of the requests, and uids what logs they are of.
	asked, uids []string
}

type saying struct {
	events []*v1.SessionEvent
	end    error
}

// play serves it, and is a client of it. A stream more than it says ends the test.
func play(t *testing.T, says ...saying) (*played, *Client) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server, service := grpc.NewServer(), &played{says: says}
	v1.RegisterSessionServiceServer(server, service)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return service, dial(t, listener.Addr().String(), Options{})
}

func (p *played) next(cursor *int64, uid string) (saying, error) {
	if p.asked, p.uids = append(p.asked, cursorText(cursor)), append(p.uids, uid); len(p.asked) > len(p.says) {
		return saying{}, status.Error(codes.FailedPrecondition, "it was asked too often")
	}
	return p.says[len(p.asked)-1], nil
}

func cursorText(cursor *int64) string {
	if cursor == nil {
		return "all"
	}
	return fmt.Sprint(*cursor)
}

func (p *played) WatchSession(request *v1.WatchSessionRequest, stream grpc.ServerStreamingServer[v1.WatchSessionResponse]) error {
	said, err := p.next(request.AfterSequence, request.GetExpectedUid())
	if err != nil {
		return err
	}
	for at, event := range said.events {
		response := &v1.WatchSessionResponse{Events: []*v1.SessionEvent{event}}
		if at == 0 {
			response.Uid = fmt.Sprint("log ", len(p.asked))
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
	return said.end
}

func (p *played) RunTurn(request *v1.RunTurnRequest, stream grpc.ServerStreamingServer[v1.RunTurnResponse]) error {
	said, err := p.next(request.AfterSequence, "")
	if err != nil {
		return err
	}
	if err := stream.Send(&v1.RunTurnResponse{Turn: &v1.Turn{TurnId: "turn_1"}, Sequence: 5}); err != nil {
		return err
	}
	for _, event := range said.events {
		if err := stream.Send(&v1.RunTurnResponse{Events: []*v1.SessionEvent{event}}); err != nil {
			return err
		}
	}
	return said.end
}

var cut = status.Error(codes.Unavailable, "cut")

func refusal(t *testing.T, code codes.Code, reason string) error {
	t.Helper()
	refused, err := status.New(code, "refused").WithDetails(&errdetails.ErrorInfo{Reason: reason})
	must(t, err)
	return refused.Err()
}

// The events that are played: each is the log's, from one sequence to another.
func logged(first, last int64) *v1.SessionEvent {
	log := &v1.SessionEvent_Log{Log: &v1.LogEntry{}}
	return &v1.SessionEvent{FirstSequence: first, Sequence: last, Kind: log}
}

func bookmark(first, last int64) *v1.SessionEvent {
	return &v1.SessionEvent{FirstSequence: first, Sequence: last, Kind: &v1.SessionEvent_Bookmark{Bookmark: &v1.Bookmark{}}}
}

func deleted(sequence int64) *v1.SessionEvent {
	change := &v1.StatusChanged{Status: v1.SessionStatus_SESSION_STATUS_DELETED}
	return &v1.SessionEvent{Sequence: sequence, Kind: &v1.SessionEvent_StatusChanged{StatusChanged: change}}
}

func snapshotStart() *v1.SessionEvent {
	return &v1.SessionEvent{Kind: &v1.SessionEvent_SnapshotStart{SnapshotStart: &v1.SnapshotStart{}}}
}

func snapshotChunk(block string) *v1.SessionEvent {
	state := &v1.SessionState{Session: &v1.Session{SessionId: "ses_1"}, Blocks: []*v1.Block{{BlockId: block}}}
	return &v1.SessionEvent{Kind: &v1.SessionEvent_SnapshotChunk{SnapshotChunk: &v1.SnapshotChunk{State: state}}}
}

func snapshotComplete(sequence int64) *v1.SessionEvent {
	return &v1.SessionEvent{Sequence: sequence, Kind: &v1.SessionEvent_SnapshotComplete{SnapshotComplete: &v1.SnapshotComplete{}}}
}

func TestAHoleInTheSequencesIsAnError(t *testing.T) {
	t.Parallel()
	for name, events := range map[string][]*v1.SessionEvent{
		"a hole":                       {logged(0, 6), logged(0, 8)},
		"a hole in ranges":             {logged(6, 9), logged(11, 12)},
		"one that came":                {logged(0, 6), logged(0, 6)},
		"a range with one that came":   {logged(6, 9), logged(9, 12)},
		"a range that ends too early":  {logged(0, 6), logged(7, 6)},
		"a bookmark over a hole":       {logged(0, 6), bookmark(8, 8)},
		"a bookmark that goes back":    {logged(0, 6), bookmark(6, 6)},
		"an event within the snapshot": {snapshotStart(), logged(0, 6)},
	} {
		t.Run(name, func(t *testing.T) {
			right, bad := events[0], events[1]
			check := func(got []*v1.SessionEvent, service *played, err error) {
				t.Helper()
				if failed := failure(t, err); failed.Code != codes.DataLoss || failed.Transient() {
					t.Errorf("it ended with %v", err)
				}
				if len(got) != 2 || !proto.Equal(got[1], right) || len(service.asked) != 1 {
					t.Errorf("in %d streams %v came", len(service.asked), got)
				}
			}
			said := saying{[]*v1.SessionEvent{bookmark(6, 5), right, bad, deleted(bad.Sequence + 1)}, cut}
			service, client := play(t, said)
			got, err := collect(client.Watch(within(t, patience), after("ses_1", 5)))
			check(got, service, err)
			service, client = play(t, said)
			got, err = collect(client.RunTurn(within(t, patience), &v1.RunTurnRequest{SessionId: "ses_1", Text: "hello"}))
			check(got, service, err)
		})
	}
}

// collect is what a sequence brings, and what it ends with.
func collect(events func(yield func(*v1.SessionEvent, error) bool)) (got []*v1.SessionEvent, err error) {
	for event, err := range events {
		if err != nil {
			return got, err
		}
		got = append(got, event)
	}
	return got, nil
}

// ended checks what a watch after 5 brought, and what it had asked for, and is what it came to.
func ended(t *testing.T, service *played, client *Client, asked, uids []string, want ...*v1.SessionEvent) *v1.SessionState {
	t.Helper()
	request := after("ses_1", 5)
	request.ExpectedUid = "log 0"
	got, err := collect(client.Watch(within(t, patience), request))
	must(t, err)
	if !slices.Equal(service.asked, asked) || !slices.Equal(service.uids, uids) {
		t.Errorf("it asked for %q of %q", service.asked, service.uids)
	}
	if !slices.EqualFunc(got, want, func(a, b *v1.SessionEvent) bool { return proto.Equal(a, b) }) {
		t.Errorf("these came: %v", got)
	}
	var state State
	for _, event := range got {
		state.Apply(event)
	}
	return state.Proto()
}

func TestALogThatWasTruncatedMeanwhileComesAsASnapshot(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{"SEQUENCE_TRUNCATED", "SESSION_REPLACED"} {
		service, client := play(t,
			saying{[]*v1.SessionEvent{bookmark(6, 5), logged(6, 7)}, cut},
			saying{nil, refusal(t, codes.OutOfRange, reason)},
			saying{[]*v1.SessionEvent{snapshotStart(), snapshotChunk("new"), snapshotComplete(40)}, cut},
			saying{[]*v1.SessionEvent{bookmark(41, 40), deleted(41)}, nil},
		)
		state := ended(t, service, client, []string{"5", "7", "all", "40"}, []string{"log 0", "log 1", "", "log 3"},
			bookmark(6, 5), logged(6, 7), snapshotStart(), snapshotChunk("new"), snapshotComplete(40), bookmark(41, 40), deleted(41))
		if len(state.Blocks) != 1 || state.Blocks[0].BlockId != "new" {
			t.Errorf("it came to %v", state)
		}
	}
}

func TestASnapshotThatWasCutComesAnew(t *testing.T) {
	t.Parallel()
	service, client := play(t,
		saying{nil, refusal(t, codes.OutOfRange, "SEQUENCE_TRUNCATED")},
		saying{[]*v1.SessionEvent{snapshotStart(), snapshotChunk("half")}, cut},
		saying{[]*v1.SessionEvent{snapshotStart(), snapshotChunk("whole"), snapshotComplete(40), deleted(41)}, nil},
	)
	state := ended(t, service, client, []string{"5", "all", "all"}, []string{"log 0", "", ""},
		snapshotStart(), snapshotChunk("half"), snapshotStart(), snapshotChunk("whole"), snapshotComplete(40), deleted(41))
	if len(state.Blocks) != 1 || state.Blocks[0].BlockId != "whole" {
		t.Errorf("it came to %v", state)
	}
}

func TestATurnThatIsRefusedItsCursorIsNotSentAgain(t *testing.T) {
	t.Parallel()
	service, client := play(t,
		saying{[]*v1.SessionEvent{logged(6, 7)}, cut},
		saying{nil, refusal(t, codes.OutOfRange, "SEQUENCE_TRUNCATED")},
	)
	_, err := collect(client.RunTurn(within(t, patience), &v1.RunTurnRequest{SessionId: "ses_1", Text: "hello"}))
	if failure(t, err).Reason != "SEQUENCE_TRUNCATED" || !slices.Equal(service.asked, []string{"all", "7"}) {
		t.Errorf("it asked for %q: %v", service.asked, err)
	}
}

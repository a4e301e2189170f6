package agentruntime

import (
	"context"
	"errors"
	"math"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

// killed kills the server in the midst of a turn, starts it again, and is what the session was then.
func killed(t *testing.T, server *server, client *Client, id string) (*v1.SessionState, int64) {
	t.Helper()
	server.kill()
	must(t, server.start())
	state, sequence := snapshot(t, client, id)
	if state.GetSession().GetActiveTurn() == nil {
		t.Fatal("nothing went on when it was killed")
	}
	return state, sequence
}

func interrupt(t *testing.T, client *Client, id string) {
	t.Helper()
	_, err := client.InterruptTurn(within(t, patience), &v1.InterruptTurnRequest{SessionId: id})
	must(t, err)
}

func TestATurnSurvivesKillAndRestart(t *testing.T) {
	t.Parallel()
	server := own(t)
	client := server.client(t)
	id := create(t, client)
	var text string
	kills, known := 0, 0
	for block, err := range client.Run(within(t, patience), id, endless) {
		if err != nil {
			if failed := failure(t, err); failed.Code != codes.Aborted || kills != 2 {
				t.Fatalf("after %d kills it ended with %v", kills, err)
			}
			break
		}
		// What the server had when it came back is no proof that its stream goes on.
		if text = block.GetAssistantText().GetText(); len(text) <= known {
			continue
		}
		if kills == 2 {
			interrupt(t, client, id)
			known = math.MaxInt
			continue
		}
		state, _ := killed(t, server, client, id)
		kills++
		known = len(Words(state.Blocks[len(state.Blocks)-1]))
	}
	if !strings.HasPrefix(numbers(len(text)/20+1), text) {
		t.Errorf("%d bytes came", len(text))
	}
	state, head := snapshot(t, client, id)
	if whole := Words(state.Blocks[len(state.Blocks)-1]); whole != text {
		t.Errorf("%d bytes of %d came", len(text), len(whole))
	}
	var replayed State
	apply(t, client, &replayed, id, 0, head)
	same(t, replayed.Proto(), state)
}

func TestAWatchSurvivesKillAndRestart(t *testing.T) {
	t.Parallel()
	server := own(t)
	client := server.client(t)
	id := create(t, client)
	ctx := within(t, patience)
	var live, replayed State
	kills, known := 0, int64(0)
	for event, err := range client.Watch(ctx, &v1.WatchSessionRequest{SessionId: id, BookmarkInterval: durationpb.New(time.Second)}) {
		must(t, err)
		live.Apply(event)
		if event.GetTurnUpdated().GetTurn().GetEndTime() != nil {
			break
		}
		switch {
		case event.GetSnapshotComplete() != nil:
			_, err := client.SendMessage(ctx, &v1.SendMessageRequest{SessionId: id, Text: endless})
			must(t, err)
		case event.GetBlockDelta() == nil || event.GetSequence() <= known:
		case kills == 2:
			interrupt(t, client, id)
			known = math.MaxInt64
		default:
			_, known = killed(t, server, client, id)
			kills++
		}
	}
	if kills != 2 {
		t.Errorf("the server was killed %d times", kills)
	}
	apply(t, client, &replayed, id, 0, live.Proto().GetSession().GetSequence())
	same(t, live.Proto(), replayed.Proto())
}

func TestCutsInTheMiddleOfATurnLoseNothing(t *testing.T) {
	t.Parallel()
	proxy := proxied(t, shared)
	client := dial(t, proxy.addr, Options{Key: shared.key()})
	cuts, deltas := 0, 0
	var state State
	for event, err := range client.RunTurn(within(t, patience), &v1.RunTurnRequest{SessionId: create(t, client), Text: long}) {
		must(t, err)
		state.Apply(event)
		// The first one too, for a busy machine merges most of them.
		if event.GetBlockDelta() != nil {
			if deltas%8 == 0 {
				proxy.cut()
				cuts++
			}
			deltas++
		}
	}
	blocks := state.Proto().GetBlocks()
	if cuts == 0 || blocks[len(blocks)-1].GetAssistantText().GetText() != numbers(400) {
		t.Errorf("after %d cuts it says %.200q", cuts, Words(blocks[len(blocks)-1]))
	}
}

func TestHangingUpEndsTheStream(t *testing.T) {
	t.Parallel()
	direct, proxy := shared.client(t), proxied(t, shared)
	client := dial(t, proxy.addr, Options{Key: shared.key()})
	for _, how := range []string{"break", "cancel"} {
		t.Run(how, func(t *testing.T) {
			id := create(t, direct)
			ctx, cancel := context.WithCancel(within(t, patience))
			var ended error
			for event, err := range client.RunTurn(ctx, &v1.RunTurnRequest{SessionId: id, Text: endless}) {
				if ended = err; err != nil {
					break
				}
				if event.GetBlockDelta() != nil {
					if how == "break" {
						break
					}
					cancel()
				}
			}
			if how == "cancel" && !errors.Is(ended, context.Canceled) {
				t.Errorf("it ended with %v", ended)
			}
			sequence := func() int64 {
				got, err := direct.GetSession(within(t, patience), &v1.GetSessionRequest{SessionId: id})
				must(t, err)
				return got.GetSession().GetSequence()
			}
			// While the turn goes on, nothing more is sent to who hung up. What is on its way may still come; a stream that
			// nobody reads goes on for longer, up to its window of 64 KiB.
			for noisy := 0; noisy <= 6; {
				sent, before := proxy.answered.Load(), sequence()
				// Without watchers four commits a second are made.
				time.Sleep(time.Second)
				goesOn := sequence() >= before+2
				if quiet := proxy.answered.Load()-sent < 200; goesOn && quiet {
					break
				} else if goesOn {
					noisy++
				}
				if noisy > 6 {
					t.Error("its events still come")
				}
			}
			_, err := direct.InterruptTurn(within(t, patience), &v1.InterruptTurnRequest{SessionId: id})
			must(t, err)
			cancel()
		})
	}
}

func TestACallWhoseAnswerIsLostIsMadeOnce(t *testing.T) {
	t.Parallel()
	ctx, direct, proxy := within(t, patience), shared.client(t), proxied(t, shared)
	client := dial(t, proxy.addr, Options{Key: shared.key()})
	id := create(t, client)
	proxy.losesAnswers.Store(true)
	type result struct {
		sent *v1.SendMessageResponse
		err  error
	}
	results := make(chan result)
	go func() {
		sent, err := client.SendMessage(ctx, &v1.SendMessageRequest{SessionId: id, Text: script(step{"say": "once"})})
		results <- result{sent, err}
	}()
	said := func() (ids []string) {
		for _, block := range all(t, Pages(ctx, direct.ListBlocks, &v1.ListBlocksRequest{SessionId: id}), (*v1.ListBlocksResponse).GetBlocks) {
			if block.GetUserMessage() != nil {
				ids = append(ids, block.GetBlockId())
			}
		}
		return ids
	}
	for len(said()) == 0 {
		time.Sleep(20 * time.Millisecond)
	}
	proxy.losesAnswers.Store(false)
	proxy.cut()
	got := <-results
	must(t, got.err)
	if ids := said(); !slices.Equal(ids, []string{got.sent.GetTurn().GetBlockId()}) {
		t.Errorf("the message arrived as %v", ids)
	}
}

func TestARepeatedRequestIDGetsTheFirstAnswer(t *testing.T) {
	t.Parallel()
	ctx, client := within(t, patience), shared.client(t)
	request := &v1.CreateSessionRequest{Agent: "scripted", RequestId: "mine"}
	one, err := client.CreateSession(ctx, request)
	must(t, err)
	two, err := client.CreateSession(ctx, request)
	must(t, err)
	same(t, two, one)
	request.Name = "another"
	if _, err = client.CreateSession(ctx, request); failure(t, err).Reason != "REQUEST_ID_REUSED" {
		t.Error(err)
	}
	request.RequestId = ""
	_, err = client.CreateSession(ctx, request)
	must(t, err)
	if request.RequestId != "" {
		t.Error("the caller's request was changed")
	}
}

func TestWhatIsRefusedSaysWhy(t *testing.T) {
	t.Parallel()
	ctx, client := within(t, patience), shared.client(t)
	for key, reason := range map[string]string{"wrong": "AUTH_INVALID", "": "AUTH_MISSING"} {
		stranger := dial(t, shared.addr, Options{Key: key})
		_, err := stranger.CreateSession(ctx, &v1.CreateSessionRequest{})
		for _, err := range []error{err, first(stranger.Watch(ctx, after("ses_1", 0)))} {
			if failed := failure(t, err); failed.Reason != reason || status.Code(err) != codes.Unauthenticated {
				t.Error(failed)
			}
		}
	}
	_, err := client.CreateSession(ctx, &v1.CreateSessionRequest{Agent: "scripted", Name: strings.Repeat("x", 201)})
	if bad := failure(t, err); bad.Reason != "INVALID_FIELD" || bad.FieldViolations[0].Field != "name" || !strings.Contains(bad.Error(), "\n  name: ") {
		t.Error(bad)
	}
	_, err = client.GetSession(ctx, &v1.GetSessionRequest{SessionId: "ses_nowhere"})
	if missing := failure(t, err); missing.Reason != "SESSION_NOT_FOUND" || missing.Metadata["session_id"] != "ses_nowhere" {
		t.Error(missing)
	}
	id := create(t, client)
	if err := first(client.Watch(ctx, after(id, 1000))); failure(t, err).Reason != "SEQUENCE_AHEAD" {
		t.Error(err)
	}
	other := after(id, 1)
	other.ExpectedUid = "another-log"
	for event, err := range client.Watch(ctx, other) {
		must(t, err)
		if event.GetSnapshotStart() == nil {
			t.Errorf("a cursor of another log needs a snapshot: %v", event)
		}
		break
	}
}

func TestADeadlineIsKept(t *testing.T) {
	t.Parallel()
	server := own(t)
	client := server.client(t)
	id := create(t, client)
	server.standStill(t)
	defer server.signal(syscall.SIGCONT)
	began := time.Now()
	_, err := client.GetSession(within(t, 500*time.Millisecond), &v1.GetSessionRequest{SessionId: id})
	if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took < 400*time.Millisecond {
		t.Errorf("after %v: %v", took, err)
	}
	if err := first(client.Watch(within(t, 500*time.Millisecond), after(id, 0))); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestACallWaitsForAServerThatComesBack(t *testing.T) {
	t.Parallel()
	server := own(t)
	proxy := proxied(t, server)
	client := dial(t, proxy.addr, Options{Key: server.key()})
	id := create(t, client)
	proxy.refuses.Store(2)
	proxy.cut()
	_, err := client.StopSession(within(t, patience), &v1.StopSessionRequest{SessionId: id})
	must(t, err)
	if left := proxy.refuses.Load(); left != 0 {
		t.Errorf("%d connections were not tried", left)
	}
	server.kill()
	if _, err = client.StopSession(within(t, patience), &v1.StopSessionRequest{SessionId: id}); failure(t, err).Code != codes.Unavailable {
		t.Error(err)
	}
}

func TestAServerStartsAgainWhereItsPortWasTaken(t *testing.T) {
	t.Parallel()
	server := own(t)
	server.kill()
	taken, err := net.Listen("tcp", server.addr)
	must(t, err)
	time.AfterFunc(time.Second, func() { taken.Close() })
	must(t, server.start())
	create(t, server.client(t))
}

func TestADeletedSessionEndsItsWatches(t *testing.T) {
	t.Parallel()
	ctx, client := within(t, patience), shared.client(t)
	id := create(t, client)
	var end *v1.SessionEvent
	for event, err := range client.Watch(ctx, after(id, 0)) {
		must(t, err)
		if end = event; event.GetSessionCreated() != nil {
			_, err := client.DeleteSession(ctx, &v1.DeleteSessionRequest{SessionId: id})
			must(t, err)
		}
	}
	if end.GetStatusChanged().GetStatus() != v1.SessionStatus_SESSION_STATUS_DELETED {
		t.Error(end)
	}
}

func TestTLSIsSpokenWhereItIsAskedFor(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	certificate, secret := folder+"/cert.pem", folder+"/key.pem"
	args := strings.Fields("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost " +
		"-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE")
	if said, err := exec.Command("openssl", append(args, "-keyout", secret, "-out", certificate)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	server := own(t, "--tls-cert", certificate, "--tls-key", secret)
	pem, err := os.ReadFile(certificate)
	must(t, err)
	client := dial(t, server.addr, Options{Key: server.key(), CA: pem})
	text, err := client.Ask(within(t, patience), create(t, client), script(step{"say": "hidden"}))
	must(t, err)
	if text != "hidden" {
		t.Error(text)
	}
}

package agentruntime

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

const resumes = 100

// A turn is watched as it happens, and taken up again from a hundred of the places where a watcher could have been cut.
func TestEveryResumeFoldsToTheSameState(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	if given, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		seed = given
	}
	t.Logf("SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	client := shared.client(t)
	id := create(t, client)
	steps := []step{{"think": "Hä? 😀 é", "size": 1, "pace_ms": 5}, {"count": 20, "size": 20, "pace_ms": 2}, {"tool": "Read", "input": step{}, "output": "x"}}
	message := script(step{"repeat": 20, "steps": steps}, step{"run": "echo 1 > f"})
	_, err := client.SendMessage(within(t, patience), &v1.SendMessageRequest{SessionId: id, Text: message})
	must(t, err)
	var seen []*v1.SessionEvent
	for event, err := range client.Watch(within(t, patience), after(id, 0)) {
		must(t, err)
		seen = append(seen, event)
		if event.GetTurnUpdated().GetTurn().GetEndTime() != nil {
			break
		}
	}
	state, head := snapshot(t, client, id)
	for range resumes {
		// Not before the session is there: what a bookmark alone says is not kept.
		cut := 2 + random.IntN(len(seen)-2)
		var folded State
		for _, event := range seen[:cut] {
			folded.Apply(event)
		}
		at := seen[cut-1].GetSequence()
		if at < head {
			apply(t, client, &folded, id, at, head)
		}
		if !proto.Equal(folded.Proto(), state) {
			t.Fatalf("SEED=%d: taken up after %d of %d it is\n%v\nand not\n%v", seed, at, head, folded.Proto(), state)
		}
	}
	t.Logf("%d events came live; %d resumes fold to the same state", len(seen), resumes)
}

func TestASilentStreamIsOpenedAgain(t *testing.T) {
	t.Parallel()
	var opened atomic.Int64
	counts := func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		opened.Add(1)
		return open(ctx, desc, conn, method, opts...)
	}
	client := dial(t, shared.addr, Options{Key: shared.key(), GRPC: []grpc.DialOption{grpc.WithChainStreamInterceptor(counts)}})
	if client.silence != 45*time.Second {
		t.Error(client.silence)
	}
	client.silence = 300 * time.Millisecond
	id := create(t, client)
	for event, err := range client.Watch(within(t, patience), after(id, 1)) {
		must(t, err)
		// The server keeps still for 15 s; each new stream begins with a bookmark.
		if event.GetBookmark() != nil && opened.Load() >= 3 {
			rename(t, client, id, "heard")
		}
		if event.GetSessionUpdated() != nil {
			return
		}
	}
}

// idle is how long streams are idle at least, where they have to live with a proxy that does not like it.
var idle = func() time.Duration {
	seconds, _ := strconv.Atoi(os.Getenv("IDLE_SECONDS"))
	return time.Duration(seconds) * time.Second
}()

// quiet watches a session through a proxy, in which nothing happens until the caller says so, and it was idle for long enough.
func quiet(t *testing.T, proxy *proxy, bookmarkInterval *durationpb.Duration, until func(bookmarks int) bool) {
	t.Helper()
	client, direct := dial(t, proxy.addr, Options{Key: shared.key()}), shared.client(t)
	id, began := create(t, direct), time.Now()
	named, bookmarks := false, 0
	request := after(id, 1)
	request.BookmarkInterval = bookmarkInterval
	for event, err := range client.Watch(within(t, idle+patience), request) {
		must(t, err)
		if event.GetBookmark() != nil {
			bookmarks++
		}
		if event.GetSessionUpdated().GetName() == "heard" {
			t.Logf("after %v and %d bookmarks; %d of %d connections were silent for too long",
				time.Since(began).Round(time.Second), bookmarks, proxy.silenced.Load(), proxy.accepted.Load())
			return
		}
		if !named && time.Since(began) >= idle && until(bookmarks) {
			named = true
			rename(t, direct, id, "heard")
		}
	}
	t.Fatal("the watch ended")
}

func TestAStreamGoesOnBehindAProxyThatCutsSilentConnections(t *testing.T) {
	t.Parallel()
	proxy := impatient(t, shared, 2*time.Second, false)
	// Each new stream begins with a bookmark.
	quiet(t, proxy, nil, func(int) bool { return proxy.silenced.Load() >= 3 })
}

func TestAStreamGoesOnBehindAProxyThatForgetsSilentConnections(t *testing.T) {
	t.Parallel()
	proxy := impatient(t, shared, 2*time.Second, true)
	// That nobody answers any more is seen by HTTP/2's pings, after half a minute.
	quiet(t, proxy, nil, func(int) bool { return proxy.silenced.Load() >= 1 && proxy.accepted.Load() >= 2 })
}

func TestBookmarksKeepASilentConnectionOpen(t *testing.T) {
	t.Parallel()
	// What there is in earnest takes too much of a test's time. The first bookmark comes at once.
	limit, interval, enough := 20*time.Second, (*durationpb.Duration)(nil), 3
	if idle == 0 {
		limit, interval, enough = 10*time.Second, durationpb.New(2*time.Second), 7
	}
	proxy := impatient(t, shared, limit, false)
	quiet(t, proxy, interval, func(bookmarks int) bool { return bookmarks >= enough })
	if cut := proxy.silenced.Load(); cut != 0 {
		t.Errorf("%d connections were cut", cut)
	}
}

func TestPausesGrowWithJitterAndAreWhatTheServerAsksFor(t *testing.T) {
	t.Parallel()
	var pauses pauses
	seen := map[time.Duration]bool{}
	for ceiling := 100 * time.Millisecond; ; ceiling *= 2 {
		ceiling = min(ceiling, 10*time.Second)
		pause := pauses.next(0)
		if pause < ceiling/2 || pause > ceiling {
			t.Errorf("%v is not between half of %v and all of it", pause, ceiling)
		}
		if seen[pause] = true; len(seen) == 12 {
			break
		}
	}
	for range 100 {
		if pause := pauses.next(30 * time.Second); pause < 30*time.Second || pause > 60*time.Second {
			t.Errorf("%v is not what the server asked for", pause)
		}
	}
}

// cuts are streams that are cut after what they bring, on a clock that goes by itself.
type cuts struct {
	v1.SessionServiceClient
	grpc.ServerStreamingClient[v1.WatchSessionResponse]
	// brings is the event of a stream after the cursor, and how long it lives after that.
	brings func(cursor int64) (*v1.SessionEvent, time.Duration)
	opened []time.Time
	event  *v1.SessionEvent
	lives  time.Duration
}

func (c *cuts) WatchSession(_ context.Context, request *v1.WatchSessionRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[v1.WatchSessionResponse], error) {
	c.opened = append(c.opened, time.Now())
	c.event, c.lives = c.brings(request.GetAfterSequence())
	return c, nil
}

func (c *cuts) Recv() (*v1.WatchSessionResponse, error) {
	event := c.event
	if c.event = nil; event == nil {
		time.Sleep(c.lives)
		return nil, errorOf(nil, cut)
	}
	return &v1.WatchSessionResponse{Events: []*v1.SessionEvent{event}}, nil
}

func TestOnlyProgressOrALongLifeMakesPausesShort(t *testing.T) {
	t.Parallel()
	const streams = 12
	for name, plays := range map[string]struct {
		brings  func(cursor int64) (*v1.SessionEvent, time.Duration)
		longest time.Duration
	}{
		"nothing but a bookmark": {func(at int64) (*v1.SessionEvent, time.Duration) { return bookmark(at+1, at), 0 }, longestPause},
		"an event":               {func(at int64) (*v1.SessionEvent, time.Duration) { return logged(0, at+1), 0 }, 100 * time.Millisecond},
		"a long life":            {func(at int64) (*v1.SessionEvent, time.Duration) { return bookmark(at+1, at), longestPause }, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, cuts := dial(t, "127.0.0.1:1", Options{}), &cuts{brings: plays.brings}
				client.SessionServiceClient = cuts
				for _, err := range client.Watch(context.Background(), after("ses_1", 5)) {
					must(t, err)
					if len(cuts.opened) == streams {
						break
					}
				}
				last := cuts.opened[streams-1].Sub(cuts.opened[streams-2]) - cuts.lives
				if last < plays.longest/2 || last > plays.longest {
					t.Errorf("the last pause is %v", last)
				}
			})
		})
	}
}

func TestWhatTheServerAsksForIsRead(t *testing.T) {
	t.Parallel()
	refused, err := status.New(codes.ResourceExhausted, "slow down").WithDetails(
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
		&errdetails.ErrorInfo{Reason: "RATE_LIMITED", Metadata: map[string]string{"limit": "7"}},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "text", Description: "is too long"}}},
	)
	must(t, err)
	failed := failure(t, errorOf(nil, refused.Err()))
	if failed.Reason != "RATE_LIMITED" || failed.RetryAfter != 1500*time.Millisecond || failed.Metadata["limit"] != "7" || !failed.Transient() {
		t.Error(failed)
	}
	if failed.Error() != "slow down [RATE_LIMITED]\n  text: is too long" {
		t.Errorf("%q", failed.Error())
	}
}

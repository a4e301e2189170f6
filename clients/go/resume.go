package agentruntime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

// The server's longest silence, unless a watch asks for another; who is silent three times as long is gone.
const bookmarkInterval = 15 * time.Second

// The longest pause that the server did not ask for.
const longestPause = 10 * time.Second

var errSilent = &Error{Code: codes.DeadlineExceeded, Message: "the server has been silent for too long"}

// Watch streams a session: everything after a sequence, or a snapshot first; then live, until it is deleted. It survives cut
// connections, silence and restarts of the server, and ends early only with an error that asking again cannot help, or the
// context's. If the log no longer reaches back to the cursor, a snapshot comes. Every range over it begins anew.
func (c *Client) Watch(ctx context.Context, request *v1.WatchSessionRequest) iter.Seq2[*v1.SessionEvent, error] {
	return func(yield func(*v1.SessionEvent, error) bool) {
		// Its AfterSequence is the cursor: all up to there was given out; nil: nothing yet, or a snapshot is on its way.
		request := proto.CloneOf(request)
		watch := stream[v1.WatchSessionResponse]{client: c, silence: c.silence, cursor: &request.AfterSequence}
		if request.BookmarkInterval != nil {
			watch.silence = 3 * request.BookmarkInterval.AsDuration()
		}
		watch.open = func(ctx context.Context) (grpc.ServerStreamingClient[v1.WatchSessionResponse], error) {
			if request.AfterSequence == nil {
				request.ExpectedUid = ""
			}
			return c.WatchSession(ctx, request)
		}
		watch.take = func(response *v1.WatchSessionResponse) (bool, error) {
			request.ExpectedUid = cmp.Or(response.GetUid(), request.ExpectedUid)
			return pass(response.GetEvents(), &request.AfterSequence, yield, func(event *v1.SessionEvent) bool {
				return event.GetStatusChanged().GetStatus() == v1.SessionStatus_SESSION_STATUS_DELETED
			})
		}
		watch.lost = []string{"SEQUENCE_TRUNCATED", "SESSION_REPLACED"}
		watch.follow(ctx, func(err error) { yield(nil, err) })
	}
}

// pass gives out events, moves the cursor over each, and is whether no more are needed.
func pass(events []*v1.SessionEvent, cursor **int64, yield func(*v1.SessionEvent, error) bool, isLast func(*v1.SessionEvent) bool) (done bool, err error) {
	for _, event := range events {
		if *cursor, err = moved(*cursor, event); err != nil {
			return false, err
		}
		if !yield(event, nil) || isLast(event) {
			return true, nil
		}
	}
	return false, nil
}

// moved is the cursor after the event, by the one rule of ranges.
func moved(cursor *int64, event *v1.SessionEvent) (*int64, error) {
	sequence := event.GetSequence()
	first, last := cmp.Or(event.GetFirstSequence(), sequence), sequence
	switch event.GetKind().(type) {
	case *v1.SessionEvent_SnapshotStart:
		return nil, nil
	case *v1.SessionEvent_SnapshotChunk:
		return cursor, nil
	case *v1.SessionEvent_SnapshotComplete:
		return &sequence, nil
	case *v1.SessionEvent_Bookmark:
		// It may be empty.
		last++
	}
	if cursor == nil || first != *cursor+1 || last < first {
		after := "nothing"
		if cursor != nil {
			after = fmt.Sprint(*cursor)
		}
		return nil, &Error{Code: codes.DataLoss, Message: fmt.Sprintf("the server broke the range rule: %d to %d came after %s", first, sequence, after)}
	}
	return &sequence, nil
}

// stream is one that is opened again where it was cut.
type stream[R any] struct {
	client *Client
	// silence is how long it may bring nothing.
	silence time.Duration
	// open asks for what is still to come.
	open func(context.Context) (grpc.ServerStreamingClient[R], error)
	// take gives out what came, and is whether no more is needed.
	take func(*R) (done bool, err error)
	// cursor is up to where all was given out; nil: nothing was.
	cursor **int64
	// lost are reasons why open is refused what follows the cursor; without one it asks for everything.
	lost []string
}

// follow reads until no more is needed, or fails with what asking again cannot help.
func (s *stream[R]) follow(ctx context.Context, fail func(error)) {
	var pauses pauses
	for {
		before, began := position(*s.cursor), time.Now()
		done, err := s.once(ctx)
		if done {
			return
		}
		if cause := s.client.ended(ctx); cause != nil {
			fail(over(cause, nil))
			return
		}
		// A stream that ended too early is asked for again like one that was cut.
		cut := &Error{Code: codes.Unavailable}
		if err != io.EOF && !errors.As(err, &cut) {
			fail(err)
			return
		}
		// A bookmark is no progress: who cuts after each would be asked again at once for ever.
		if position(*s.cursor) != before || time.Since(began) >= longestPause {
			pauses = 0
		}
		if slices.Contains(s.lost, cut.Reason) {
			*s.cursor = nil
		} else if !cut.Transient() {
			fail(err)
			return
		}
		if cause := s.client.sleep(ctx, pauses.next(cut.RetryAfter)); cause != nil {
			fail(over(cause, nil))
			return
		}
	}
}

// position is a cursor that can be compared.
func position(cursor *int64) int64 {
	if cursor == nil {
		return -1
	}
	return *cursor
}

// once reads one stream up to its end or an [*Error].
func (s *stream[R]) once(ctx context.Context) (done bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	guard := time.AfterFunc(s.silence, func() { cancel(errSilent) })
	defer guard.Stop()
	open, err := s.open(ctx)
	for err == nil {
		var response *R
		if response, err = open.Recv(); err != nil {
			break
		}
		// Only the server's silence counts, not the caller's.
		guard.Stop()
		if done, err = s.take(response); done || err != nil {
			return done, err
		}
		guard.Reset(s.silence)
	}
	if context.Cause(ctx) == errSilent {
		err = errSilent
	}
	return false, err
}

// pauses counts failures in a row.
type pauses int

// next is a wait that doubles from 0.1 s to 10 s, with jitter, so that the watchers of a restarted server do not come back as
// one; and never less than the server asked for.
func (p *pauses) next(retryAfter time.Duration) time.Duration {
	ceiling := min(100*time.Millisecond<<min(*p, 10), longestPause)
	*p++
	jittered := ceiling/2 + rand.N(ceiling/2)
	if retryAfter > 0 {
		return retryAfter + min(jittered, retryAfter)
	}
	return jittered
}

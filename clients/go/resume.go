package agentruntime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

// The server's longest silence, unless a watch asks for another; who is silent three times as long is gone.
const bookmarkInterval = 15 * time.Second

var errSilent = &Error{Code: codes.DeadlineExceeded, Message: "the server has been silent for too long"}

// Watch streams a session: everything after a sequence, or a snapshot first; then live, until it is deleted. It survives cut
// connections, silence and restarts of the server, and ends early only with an error that asking again cannot help, or the
// context's. If the log no longer reaches back to the cursor, a snapshot comes. Every range over it begins anew.
func (c *Client) Watch(ctx context.Context, request *v1.WatchSessionRequest) iter.Seq2[*v1.SessionEvent, error] {
	return func(yield func(*v1.SessionEvent, error) bool) {
		at := cursor{sequence: request.AfterSequence, yield: yield}
		uid, silence := request.GetExpectedUid(), c.silence
		if request.BookmarkInterval != nil {
			silence = 3 * request.BookmarkInterval.AsDuration()
		}
		at.isLast = func(event *v1.SessionEvent) bool {
			return event.GetStatusChanged().GetStatus() == v1.SessionStatus_SESSION_STATUS_DELETED
		}
		watch := stream[v1.WatchSessionResponse]{silence: silence}
		watch.open = func(ctx context.Context) (grpc.ServerStreamingClient[v1.WatchSessionResponse], error) {
			request := proto.CloneOf(request)
			request.AfterSequence, request.ExpectedUid = at.sequence, ""
			if at.sequence != nil {
				request.ExpectedUid = uid
			}
			return c.WatchSession(ctx, request)
		}
		watch.take = func(response *v1.WatchSessionResponse) (bool, error) {
			if response.GetUid() != "" {
				uid = response.GetUid()
			}
			return at.pass(response.GetEvents())
		}
		watch.startsOver = func(failed *Error) bool {
			if !failed.wantsSnapshot() {
				return false
			}
			at.sequence = nil
			return true
		}
		if err := watch.follow(ctx); err != nil {
			yield(nil, err)
		}
	}
}

// RunTurn gives the agent a message, once, and streams its turn up to its end. Hanging up does not cancel it. A second range
// over it follows the same turn from its start.
func (c *Client) RunTurn(ctx context.Context, request *v1.RunTurnRequest) iter.Seq2[*v1.SessionEvent, error] {
	request = named(request)
	return func(yield func(*v1.SessionEvent, error) bool) {
		at, turnID := cursor{sequence: request.AfterSequence, yield: yield}, ""
		at.isLast = func(event *v1.SessionEvent) bool {
			turn := event.GetTurnUpdated().GetTurn()
			return turn.GetEndTime() != nil && turn.GetTurnId() == turnID
		}
		run := stream[v1.RunTurnResponse]{silence: c.silence}
		run.open = func(ctx context.Context) (grpc.ServerStreamingClient[v1.RunTurnResponse], error) {
			// The same request id: a message that was taken is not sent again, and its turn goes on after the cursor.
			request := proto.CloneOf(request)
			request.AfterSequence = at.sequence
			return c.SessionServiceClient.RunTurn(ctx, request)
		}
		run.take = func(response *v1.RunTurnResponse) (bool, error) {
			if response.GetTurn() != nil {
				turnID = response.GetTurn().GetTurnId()
				if at.sequence == nil {
					at.sequence = &response.Sequence
				}
			}
			return at.pass(response.GetEvents())
		}
		if err := run.follow(ctx); err != nil {
			yield(nil, err)
		}
	}
}

// cursor is how far events were given out.
type cursor struct {
	// sequence is the last one; nil: nothing yet, or a snapshot is on its way.
	sequence *int64
	isLast   func(*v1.SessionEvent) bool
	yield    func(*v1.SessionEvent, error) bool
}

// pass gives out events, and is whether no more are needed.
func (c *cursor) pass(events []*v1.SessionEvent) (done bool, err error) {
	for _, event := range events {
		if err := c.move(event); err != nil {
			return false, err
		}
		if !c.yield(event, nil) || c.isLast(event) {
			return true, nil
		}
	}
	return false, nil
}

// move moves the cursor over the event, by the one rule of ranges.
func (c *cursor) move(event *v1.SessionEvent) error {
	sequence := event.GetSequence()
	switch event.GetKind().(type) {
	case *v1.SessionEvent_SnapshotStart:
		c.sequence = nil
		return nil
	case *v1.SessionEvent_SnapshotChunk:
		return nil
	case *v1.SessionEvent_SnapshotComplete:
		c.sequence = &sequence
		return nil
	}
	first, last := sequence, sequence
	if event.GetFirstSequence() != 0 {
		first = event.GetFirstSequence()
	}
	if event.GetBookmark() != nil {
		// It may be empty.
		last++
	}
	if c.sequence == nil || first != *c.sequence+1 || last < first {
		after := "nothing"
		if c.sequence != nil {
			after = fmt.Sprint(*c.sequence)
		}
		return &Error{Code: codes.DataLoss, Message: fmt.Sprintf("the server broke the range rule: %d to %d came after %s", first, sequence, after)}
	}
	c.sequence = &sequence
	return nil
}

// stream is one that is opened again where it was cut.
type stream[R any] struct {
	// open asks for what is still to come.
	open func(context.Context) (grpc.ServerStreamingClient[R], error)
	// take gives out what came, and is whether no more is needed.
	take func(*R) (done bool, err error)
	// startsOver is whether open asks for everything from now on, because what it asked for is not to be had; nil: never.
	startsOver func(*Error) bool
	silence    time.Duration
}

// follow reads until no more is needed, or an error that asking again cannot help.
func (s *stream[R]) follow(ctx context.Context) error {
	var pauses pauses
	for {
		came, done, err := s.once(ctx)
		if done {
			return nil
		}
		if cause := ctx.Err(); cause != nil {
			return &Error{Code: status.FromContextError(cause).Code(), Message: cause.Error(), cause: cause}
		}
		failed := &Error{}
		// A stream that ended too early is asked for again like one that was cut.
		if err != nil {
			startsOver := errors.As(err, &failed) && s.startsOver != nil && s.startsOver(failed)
			if !startsOver && !failed.Transient() {
				return err
			}
		}
		if came {
			pauses = 0
		}
		sleep(ctx, pauses.next(failed.RetryAfter))
	}
}

// once reads one stream to its end.
func (s *stream[R]) once(ctx context.Context) (came, done bool, err error) {
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
		came = true
		if done, err = s.take(response); done || err != nil {
			return came, done, err
		}
		guard.Reset(s.silence)
	}
	if context.Cause(ctx) == errSilent {
		return came, false, errSilent
	}
	if err == io.EOF {
		err = nil
	}
	return came, false, err
}

// pauses counts failures in a row.
type pauses int

// next is a wait that doubles from 0.1 s to 10 s, with jitter, so that the watchers of a restarted server do not come back as
// one; and never less than the server asked for.
func (p *pauses) next(retryAfter time.Duration) time.Duration {
	ceiling := min(100*time.Millisecond<<min(*p, 10), 10*time.Second)
	*p++
	jittered := ceiling/2 + rand.N(ceiling/2)
	if retryAfter > 0 {
		return retryAfter + min(jittered, retryAfter)
	}
	return jittered
}

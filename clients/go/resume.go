package agentruntime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

const bookmarkInterval = 15 * time.Second

var (
	errSilent = &Error{Code: codes.DeadlineExceeded, Message: "the server has been silent for too long"}
	errHungUp = errors.New("the caller needs no more")
)

// Watch streams a session: everything after a sequence, or a snapshot first; then live, until it is deleted. It survives cut
// connections, silence and restarts of the server, and ends early only with an error that asking again cannot help, or the
// context's. If the log no longer reaches back to the cursor, a snapshot comes. Every range over it begins anew.
func (c *Client) Watch(ctx context.Context, request *v1.WatchSessionRequest) iter.Seq2[*v1.SessionEvent, error] {
	return func(yield func(*v1.SessionEvent, error) bool) {
		c.watching(request).follow(ctx, yield)
	}
}

// RunTurn gives the agent a message, once, and streams its turn up to its end. Hanging up does not cancel it. A second range
// over it follows the same turn from its start.
func (c *Client) RunTurn(ctx context.Context, request *v1.RunTurnRequest) iter.Seq2[*v1.SessionEvent, error] {
	request = named(request)
	return func(yield func(*v1.SessionEvent, error) bool) {
		c.running(request).follow(ctx, yield)
	}
}

// resume is a stream that goes on where it was cut.
type resume struct {
	// open asks for what comes after the cursor.
	open func(context.Context) (func() (frame, error), error)
	// isLast is whether nothing follows the event.
	isLast func(*v1.SessionEvent) bool
	// cursor is the sequence up to which everything was given out; nil: nothing yet, or a snapshot is on its way.
	cursor      *int64
	uid         string
	turn        *v1.Turn
	canSnapshot bool
	silence     time.Duration
	pauses      pauses
	done        bool
}

// frame is a response of either call.
type frame struct {
	events   []*v1.SessionEvent
	uid      string
	turn     *v1.Turn
	sequence int64
}

func (c *Client) watching(request *v1.WatchSessionRequest) *resume {
	r := &resume{cursor: request.AfterSequence, uid: request.GetExpectedUid(), canSnapshot: true, silence: 3 * bookmarkInterval}
	if request.BookmarkInterval != nil {
		r.silence = 3 * request.BookmarkInterval.AsDuration()
	}
	r.open = func(ctx context.Context) (func() (frame, error), error) {
		request := proto.CloneOf(request)
		request.AfterSequence, request.ExpectedUid = r.cursor, ""
		if r.cursor != nil {
			request.ExpectedUid = r.uid
		}
		stream, err := c.WatchSession(ctx, request)
		return func() (frame, error) {
			response, err := stream.Recv()
			return frame{events: response.GetEvents(), uid: response.GetUid()}, err
		}, err
	}
	r.isLast = func(event *v1.SessionEvent) bool {
		return event.GetStatusChanged().GetStatus() == v1.SessionStatus_SESSION_STATUS_DELETED
	}
	return r
}

func (c *Client) running(request *v1.RunTurnRequest) *resume {
	r := &resume{cursor: request.AfterSequence, silence: 3 * bookmarkInterval}
	r.open = func(ctx context.Context) (func() (frame, error), error) {
		// The same request id: a message that was taken is not sent again, and its turn goes on after the cursor.
		request := proto.CloneOf(request)
		request.AfterSequence = r.cursor
		stream, err := c.SessionServiceClient.RunTurn(ctx, request)
		return func() (frame, error) {
			response, err := stream.Recv()
			return frame{events: response.GetEvents(), turn: response.GetTurn(), sequence: response.GetSequence()}, err
		}, err
	}
	r.isLast = func(event *v1.SessionEvent) bool {
		turn := event.GetTurnUpdated().GetTurn()
		if turn == nil || turn.GetTurnId() != r.turn.GetTurnId() {
			return false
		}
		r.turn = turn
		return isFinal(turn.GetStatus())
	}
	return r
}

func (r *resume) follow(ctx context.Context, yield func(*v1.SessionEvent, error) bool) {
	for !r.done {
		err := r.once(ctx, yield)
		if r.done || err == errHungUp {
			return
		}
		if ctx.Err() == nil {
			var pause time.Duration
			if pause, err = r.pause(err); err != nil {
				yield(nil, err)
				return
			}
			sleep(ctx, pause)
		}
		if cause := ctx.Err(); cause != nil {
			yield(nil, &Error{Code: codeOf(cause), Message: cause.Error(), cause: cause})
			return
		}
	}
}

// once reads one stream to its end.
func (r *resume) once(ctx context.Context, yield func(*v1.SessionEvent, error) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	guard := time.AfterFunc(r.silence, func() { cancel(errSilent) })
	defer guard.Stop()
	receive, err := r.open(ctx)
	for err == nil {
		var frame frame
		if frame, err = receive(); err != nil {
			break
		}
		// Only the server's silence counts, not the caller's.
		guard.Stop()
		r.take(frame)
		for _, event := range frame.events {
			if err := r.move(event); err != nil {
				return err
			}
			if !yield(event, nil) {
				return errHungUp
			}
			if r.done {
				return nil
			}
		}
		guard.Reset(r.silence)
	}
	if context.Cause(ctx) == errSilent {
		return errSilent
	}
	if err == io.EOF {
		return nil
	}
	return err
}

func (r *resume) take(frame frame) {
	r.pauses = 0
	if frame.uid != "" {
		r.uid = frame.uid
	}
	if frame.turn != nil {
		r.turn = frame.turn
		if r.cursor == nil {
			r.cursor = &frame.sequence
		}
	}
}

// move moves the cursor over the event, by the one rule of ranges.
func (r *resume) move(event *v1.SessionEvent) error {
	sequence := event.GetSequence()
	switch event.GetKind().(type) {
	case *v1.SessionEvent_SnapshotStart:
		r.cursor = nil
		return nil
	case *v1.SessionEvent_SnapshotChunk:
		return nil
	case *v1.SessionEvent_SnapshotComplete:
		r.cursor = &sequence
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
	if r.cursor == nil || first != *r.cursor+1 || last < first {
		cursor := "nothing"
		if r.cursor != nil {
			cursor = fmt.Sprint(*r.cursor)
		}
		return &Error{Code: codes.DataLoss, Message: fmt.Sprintf("the server broke the range rule: %d to %d came after %s", first, sequence, cursor)}
	}
	r.cursor, r.done = &sequence, r.isLast(event)
	return nil
}

// pause is how long to wait before asking again after this error, or after an end that came too early; or it is the error, if
// asking again cannot help.
func (r *resume) pause(err error) (time.Duration, error) {
	var failed *Error
	switch {
	case err == nil:
		return r.pauses.next(0), nil
	case !errors.As(err, &failed):
		return 0, err
	case failed.wantsSnapshot() && r.canSnapshot:
		r.cursor, r.uid = nil, ""
	case !failed.Transient():
		return 0, err
	}
	return r.pauses.next(failed.RetryAfter), nil
}

func isFinal(status v1.TurnStatus) bool {
	switch status {
	case v1.TurnStatus_TURN_STATUS_UNSPECIFIED, v1.TurnStatus_TURN_STATUS_QUEUED, v1.TurnStatus_TURN_STATUS_RUNNING,
		v1.TurnStatus_TURN_STATUS_AWAITING_INPUT, v1.TurnStatus_TURN_STATUS_PARKED:
		return false
	}
	return true
}

func codeOf(cause error) codes.Code {
	if errors.Is(cause, context.DeadlineExceeded) {
		return codes.DeadlineExceeded
	}
	return codes.Canceled
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

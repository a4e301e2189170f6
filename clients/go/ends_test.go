package agentruntime

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

// counting tells of each attempt, however it is made.
func counting(attempt func()) []grpc.DialOption {
	unary := func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		attempt()
		return call(ctx, method, request, reply, conn, opts...)
	}
	stream := func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		attempt()
		return open(ctx, desc, conn, method, opts...)
	}
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(unary), grpc.WithChainStreamInterceptor(stream)}
}

func TestClosingEndsWhatGoesOn(t *testing.T) {
	t.Parallel()
	var attempts atomic.Int64
	client := dial(t, shared.addr, Options{Key: shared.key(), GRPC: counting(func() { attempts.Add(1) })})
	ctx, direct := within(t, patience), shared.client(t)
	id := create(t, direct)
	// follow tells when something came, and then how a stream ended, and that nothing came after that.
	ended := make(chan error)
	follow := func(next func(yield func(error) bool), came func()) {
		var last error
		for err := range next {
			if last != nil {
				t.Errorf("%v came after %v", err, last)
			}
			if last = err; err == nil {
				came()
			}
		}
		ended <- last
	}
	streams := []func(yield func(error) bool){
		func(yield func(error) bool) {
			for _, err := range client.Watch(ctx, after(id, 0)) {
				if !yield(err) {
					return
				}
			}
		},
		func(yield func(error) bool) {
			for _, err := range client.RunTurn(ctx, &v1.RunTurnRequest{SessionId: id, Text: endless}) {
				if !yield(err) {
					return
				}
			}
		},
		func(yield func(error) bool) {
			for _, err := range client.WatchSessions(ctx, &v1.WatchSessionsRequest{}) {
				if !yield(err) {
					return
				}
			}
		},
	}
	for _, stream := range streams {
		came := make(chan struct{})
		go follow(stream, sync.OnceFunc(func() { close(came) }))
		<-came
	}
	must(t, client.Close())
	before := attempts.Load()
	for range streams {
		if err := <-ended; !errors.Is(err, ErrClosed) || failure(t, err).Transient() || status.Code(err) != codes.Canceled {
			t.Errorf("it ended with %v", err)
		}
	}
	if made := attempts.Load() - before; made != 0 {
		t.Errorf("%d streams were opened again", made)
	}
	if _, err := client.GetSession(ctx, &v1.GetSessionRequest{SessionId: id}); !errors.Is(err, ErrClosed) || attempts.Load() != before+1 {
		t.Errorf("after %d attempts: %v", attempts.Load()-before, err)
	}
	_, err := direct.InterruptTurn(ctx, &v1.InterruptTurnRequest{SessionId: id})
	must(t, err)
}

// refused makes a call that is refused again and again.
func refused(t *testing.T, ctx context.Context, client *Client) (attempts int, err error) {
	t.Helper()
	err = client.once(ctx, "", &v1.GetSessionRequest{}, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
		attempts++
		return status.Error(codes.Unavailable, "nobody listens")
	})
	return attempts, err
}

func TestWhatEndsAPauseIsTold(t *testing.T) {
	t.Parallel()
	// Two attempts are made within this, wherever the pauses fall: they are 50 to 100 ms, then 100 to 200 ms.
	const during = 120 * time.Millisecond
	for name, ends := range map[string]struct {
		by   func(client *Client) (context.Context, context.CancelFunc)
		with error
		code codes.Code
	}{
		"deadline": {func(*Client) (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), during)
		}, context.DeadlineExceeded, codes.DeadlineExceeded},
		"cancel": {func(*Client) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(during, cancel)
			return ctx, cancel
		}, context.Canceled, codes.Canceled},
		"close": {func(client *Client) (context.Context, context.CancelFunc) {
			time.AfterFunc(during, func() { client.Close() })
			return context.WithCancel(context.Background())
		}, ErrClosed, codes.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := dial(t, "127.0.0.1:1", Options{})
				ctx, cancel := ends.by(client)
				defer cancel()
				began := time.Now()
				attempts, err := refused(t, ctx, client)
				if took := time.Since(began); took != during || attempts != 2 {
					t.Errorf("it took %v and %d attempts", took, attempts)
				}
				failed := failure(t, err)
				if !errors.Is(err, ends.with) || failed.Code != ends.code || failed.Transient() {
					t.Errorf("it failed with %v", err)
				}
				if !strings.Contains(failed.Message, "nobody listens") {
					t.Errorf("what had failed before is not told: %v", err)
				}
			})
		})
	}
}

func TestWhatCannotBeSentIsNotSentAgain(t *testing.T) {
	t.Parallel()
	var attempts atomic.Int64
	client, ctx := dial(t, shared.addr, Options{Key: shared.key(), GRPC: counting(func() { attempts.Add(1) })}), within(t, patience)
	const bad = "no UTF-8: \xff"
	for call, make := range map[string]func() error{
		"unary": func() error { _, err := client.GetSession(ctx, &v1.GetSessionRequest{SessionId: bad}); return err },
		"watch": func() error { return first(client.Watch(ctx, after(bad, 0))) },
		"turn":  func() error { return first(client.RunTurn(ctx, &v1.RunTurnRequest{SessionId: "ses_1", Text: bad})) },
		"upload": func() error {
			_, err := client.UploadFile(ctx, &v1.UploadFileHeader{SessionId: bad, Path: "a"}, strings.NewReader("a"))
			return err
		},
	} {
		attempts.Store(0)
		if failed := failure(t, make()); failed.Transient() || attempts.Load() != 1 || !strings.Contains(failed.Message, "UTF-8") {
			t.Errorf("%s: after %d attempts: %v", call, attempts.Load(), failed)
		}
	}
}

func TestAKeyThatNoHeaderCanCarryIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"two\nlines", "schlüssel", "a\x00b"} {
		if _, err := Dial(shared.addr, Options{Key: key}); err == nil || !strings.Contains(err.Error(), "Options.Key") {
			t.Errorf("%q: %v", key, err)
		}
	}
	create(t, dial(t, shared.addr, Options{Key: "  " + shared.key() + "\n"}))
}

func TestAStatusKeepsItsDetails(t *testing.T) {
	t.Parallel()
	told, err := status.New(codes.FailedPrecondition, "no").WithDetails(
		&errdetails.ErrorInfo{Reason: "SESSION_BUSY"}, &errdetails.Help{Links: []*errdetails.Help_Link{{Url: "https://example.com"}}})
	must(t, err)
	same(t, status.Convert(errorOf(nil, told.Err())).Proto(), told.Proto())
	_, err = shared.client(t).GetSession(within(t, patience), &v1.GetSessionRequest{SessionId: "ses_nowhere"})
	if told := status.Convert(err); told.Code() != codes.NotFound || len(told.Details()) == 0 {
		t.Errorf("it is only %v", told)
	}
}

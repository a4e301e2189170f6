// Package agentruntime is the client of agent-runtime: it runs coding agents in sandboxes and streams what they do.
//
// Every call of the contract is a method of [Client], with the contract's own messages from package agentruntimev1. What this
// package adds: calls are made again under one request id while what went wrong may pass, streams of events resume by
// themselves, [State] folds events into what there is to show, and every failure is an [*Error].
package agentruntime

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"iter"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

const (
	// How often a call is made before its caller is told that it failed: two to three seconds of pauses.
	attempts = 6
	// No response is larger than 4 MiB; the rest is for what wraps it.
	maxResponse = 5 << 20
)

// ErrClosed is what calls and streams end with whose client was closed. Ask for it with [errors.Is].
var ErrClosed = errors.New("agentruntime: the client is closed")

// Client is a connection to a server. It has every call of the contract; [Client.Watch], [Client.WatchSessions],
// [Client.RunTurn] and [Client.UploadFile] stand for the streams of theirs, and [Bytes] reads the other ones. It is safe for
// concurrent use.
type Client struct {
	v1.SessionServiceClient
	v1.WorkspaceServiceClient
	v1.ProfileServiceClient
	v1.RuntimeServiceClient

	conn *grpc.ClientConn
	// closed is closed with the client, by end.
	closed chan struct{}
	end    func()
	// silence is how long a stream may bring nothing.
	silence time.Duration
}

// Options say how to connect. The zero value is without a key, and in the clear unless the address says https.
type Options struct {
	// Key is shown to the server; empty: none.
	Key string
	// CA are the certificates of which one signed the server's, in PEM; given, the connection is over TLS.
	CA []byte
	// GRPC is passed on, for example a tracer's.
	GRPC []grpc.DialOption
}

// Dial makes a client of the server at HOST:PORT, or at an http:// or https:// address. The connection is made when it is
// needed.
func Dial(addr string, options Options) (*Client, error) {
	transport := insecure.NewCredentials()
	if options.CA != nil {
		trusted := x509.NewCertPool()
		if !trusted.AppendCertsFromPEM(options.CA) {
			return nil, errors.New("agentruntime: no certificate to trust in Options.CA")
		}
		transport = credentials.NewClientTLSFromCert(trusted, "")
	} else if strings.HasPrefix(addr, "https://") {
		transport = credentials.NewClientTLSFromCert(nil, "")
	}
	closed := make(chan struct{})
	client := &Client{closed: closed, end: sync.OnceFunc(func() { close(closed) }), silence: 3 * bookmarkInterval}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponse)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		// A connection that was lost is tried again soon: how long to wait is decided in this package.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 10 * time.Second,
		}),
		grpc.WithChainUnaryInterceptor(client.once),
		grpc.WithChainStreamInterceptor(client.decoded),
	}
	key := strings.TrimSpace(options.Key)
	if strings.ContainsFunc(key, func(char rune) bool { return char < ' ' || char > '~' }) {
		// Sent, it would pass for a connection that fails, which is tried again and again.
		return nil, errors.New("agentruntime: Options.Key has a line break or is not ASCII, so no header can carry it")
	}
	if key != "" {
		dial = append(dial, grpc.WithPerRPCCredentials(bearer(key)))
	}
	addr = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(addr, "https://"), "http://"), "/")
	conn, err := grpc.NewClient(addr, append(dial, options.GRPC...)...)
	if err != nil {
		return nil, err
	}
	client.conn = conn
	client.SessionServiceClient = v1.NewSessionServiceClient(conn)
	client.WorkspaceServiceClient = v1.NewWorkspaceServiceClient(conn)
	client.ProfileServiceClient = v1.NewProfileServiceClient(conn)
	client.RuntimeServiceClient = v1.NewRuntimeServiceClient(conn)
	return client, nil
}

// Close ends the connection, and what goes on over it, with [ErrClosed].
func (c *Client) Close() error {
	// Before what goes on is cut, or it would be taken up again.
	c.end()
	return c.conn.Close()
}

// Pages are the pages of a list, one after the other: of [Client.ListSessions], [Client.ListBlocks], [Client.ListFiles], and
// of every other call that has pages.
func Pages[Q proto.Message, A interface{ GetNextPageToken() string }](
	ctx context.Context, list func(context.Context, Q, ...grpc.CallOption) (A, error), request Q,
) iter.Seq2[A, error] {
	return func(yield func(A, error) bool) {
		request := proto.CloneOf(request)
		token := request.ProtoReflect().Descriptor().Fields().ByName("page_token")
		for {
			page, err := list(ctx, request)
			if !yield(page, err) || err != nil || page.GetNextPageToken() == "" {
				return
			}
			request.ProtoReflect().Set(token, protoreflect.ValueOfString(page.GetNextPageToken()))
		}
	}
}

// bearer puts the key on every call.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity lets the key go to a server on the same machine in the clear.
func (b bearer) RequireTransportSecurity() bool { return false }

// named is the request with an id, its own or a new one, if it changes something.
func named[Q proto.Message](request Q) Q {
	field := request.ProtoReflect().Descriptor().Fields().ByName("request_id")
	if field == nil || request.ProtoReflect().Get(field).String() != "" {
		return request
	}
	request = proto.CloneOf(request)
	request.ProtoReflect().Set(field, protoreflect.ValueOfString(rand.Text()))
	return request
}

// once makes a call, and makes it again while what went wrong may pass: reads change nothing, all else has a request id.
func (c *Client) once(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if message, ok := request.(proto.Message); ok {
		request = named(message)
	}
	return c.again(ctx, func() error { return c.failed(ctx, request, call(ctx, method, request, reply, conn, opts...)) })
}

// again makes an attempt until it succeeds, or fails with what is no Error that may pass.
func (c *Client) again(ctx context.Context, attempt func() error) error {
	var pauses pauses
	for made := 1; ; made++ {
		err := attempt()
		failed, ok := err.(*Error)
		if !ok || !failed.Transient() || made == attempts {
			return err
		}
		if cause := c.sleep(ctx, pauses.next(failed.RetryAfter)); cause != nil {
			return over(cause, failed)
		}
	}
}

// sleep is why there is nothing to go on for after the pause, if there is not.
func (c *Client) sleep(ctx context.Context, pause time.Duration) error {
	select {
	case <-ctx.Done():
	case <-c.closed:
	case <-time.After(pause):
	}
	return c.ended(ctx)
}

// ended is what on this side ends all that is done under the context, if anything does.
func (c *Client) ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-c.closed:
		return ErrClosed
	default:
		return nil
	}
}

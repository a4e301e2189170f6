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

// Client is a connection to a server. It has every call of the contract; [Client.Watch], [Client.WatchSessions],
// [Client.RunTurn], [Client.ReadFile] and [Client.UploadFile] stand for the streams of theirs. It is safe for concurrent use.
type Client struct {
	v1.SessionServiceClient
	v1.WorkspaceServiceClient
	v1.ProfileServiceClient
	v1.RuntimeServiceClient

	conn *grpc.ClientConn
	// silence is how long a stream may bring nothing.
	silence time.Duration
}

// Option says how to connect.
type Option func(*options) error

type options struct {
	tls  credentials.TransportCredentials
	grpc []grpc.DialOption
}

// WithKey shows the server this key; an empty one is none.
func WithKey(key string) Option {
	return func(o *options) error {
		if key = strings.TrimSpace(key); key != "" {
			o.grpc = append(o.grpc, grpc.WithPerRPCCredentials(bearer(key)))
		}
		return nil
	}
}

// WithCA connects over TLS, to a server whose certificate one of these signed, in PEM.
func WithCA(pem []byte) Option {
	return func(o *options) error {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return errors.New("agentruntime: no certificate to trust in what WithCA was given")
		}
		o.tls = credentials.NewClientTLSFromCert(pool, "")
		return nil
	}
}

// WithGRPC passes options on, for example a tracer's.
func WithGRPC(extra ...grpc.DialOption) Option {
	return func(o *options) error {
		o.grpc = append(o.grpc, extra...)
		return nil
	}
}

// Dial makes a client of the server at HOST:PORT, or at an http:// or https:// address, which is one over TLS. The
// connection is made when it is needed.
func Dial(addr string, opts ...Option) (*Client, error) {
	o := options{tls: insecure.NewCredentials()}
	if strings.HasPrefix(addr, "https://") {
		o.tls = credentials.NewClientTLSFromCert(nil, "")
	}
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	addr = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(addr, "https://"), "http://"), "/")
	conn, err := grpc.NewClient(addr, append([]grpc.DialOption{
		grpc.WithTransportCredentials(o.tls),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponse)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		// A connection that was lost is tried again soon: how long to wait is decided in this package.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 10 * time.Second,
		}),
		grpc.WithChainUnaryInterceptor(once),
		grpc.WithChainStreamInterceptor(decoded),
	}, o.grpc...)...)
	if err != nil {
		return nil, err
	}
	return &Client{
		SessionServiceClient:   v1.NewSessionServiceClient(conn),
		WorkspaceServiceClient: v1.NewWorkspaceServiceClient(conn),
		ProfileServiceClient:   v1.NewProfileServiceClient(conn),
		RuntimeServiceClient:   v1.NewRuntimeServiceClient(conn),
		conn:                   conn,
		silence:                3 * bookmarkInterval,
	}, nil
}

// Close ends the connection, and what goes on over it.
func (c *Client) Close() error { return c.conn.Close() }

// Sessions are all sessions that match, newest first.
func (c *Client) Sessions(ctx context.Context, request *v1.ListSessionsRequest) iter.Seq2[*v1.Session, error] {
	return pages(ctx, request, c.ListSessions, (*v1.ListSessionsResponse).GetSessions)
}

// Blocks are all blocks of a conversation.
func (c *Client) Blocks(ctx context.Context, request *v1.ListBlocksRequest) iter.Seq2[*v1.Block, error] {
	return pages(ctx, request, c.ListBlocks, (*v1.ListBlocksResponse).GetBlocks)
}

// Turns are all turns of a session.
func (c *Client) Turns(ctx context.Context, request *v1.ListTurnsRequest) iter.Seq2[*v1.Turn, error] {
	return pages(ctx, request, c.ListTurns, (*v1.ListTurnsResponse).GetTurns)
}

// Profiles are the newest revisions of all profiles, by name, with their basic fields.
func (c *Client) Profiles(ctx context.Context, request *v1.ListProfilesRequest) iter.Seq2[*v1.AgentProfile, error] {
	return pages(ctx, request, c.ListProfiles, (*v1.ListProfilesResponse).GetProfiles)
}

// Files are all files of a workspace, or of a folder, by path.
func (c *Client) Files(ctx context.Context, request *v1.ListFilesRequest) iter.Seq2[*v1.WorkspaceFile, error] {
	return pages(ctx, request, c.ListFiles, (*v1.ListFilesResponse).GetFiles)
}

func pages[Q proto.Message, A interface{ GetNextPageToken() string }, T any](
	ctx context.Context,
	request Q,
	call func(context.Context, Q, ...grpc.CallOption) (A, error),
	items func(A) []T,
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		request := proto.CloneOf(request)
		token := request.ProtoReflect().Descriptor().Fields().ByName("page_token")
		for {
			page, err := call(ctx, request)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range items(page) {
				if !yield(item, nil) {
					return
				}
			}
			if page.GetNextPageToken() == "" {
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
func once(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	message, ok := request.(proto.Message)
	if !ok {
		return call(ctx, method, request, reply, conn, opts...)
	}
	message = named(message)
	return again(ctx, func() error { return call(ctx, method, message, reply, conn, opts...) })
}

func again(ctx context.Context, attempt func() error) error {
	var pauses pauses
	for made := 1; ; made++ {
		err := errorOf(ctx, attempt())
		if err == nil {
			return nil
		}
		if made == attempts || ctx.Err() != nil || !err.Transient() || !sleep(ctx, pauses.next(err.RetryAfter)) {
			return err
		}
	}
}

func sleep(ctx context.Context, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

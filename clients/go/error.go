package agentruntime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

// Error is why a call, a stream or a turn failed. Get at it with [errors.As].
type Error struct {
	Code codes.Code
	// Reason is as ErrorReason spells it, without its prefix; empty when the answer is not the server's own. Branch on this
	// one.
	Reason  string
	Message string
	// Metadata is what the reason tells beside itself; ErrorReason has the keys.
	Metadata map[string]string
	// FieldViolations are all fields that were refused, by their paths in the request, and what is wrong with each.
	FieldViolations []*errdetails.BadRequest_FieldViolation
	// RetryAfter is how long the server wants to be left alone; 0: it did not say.
	RetryAfter time.Duration

	// cause is what failed on this side, told what the other one said.
	cause error
	told  *status.Status
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s [%s]", e.Message, cmp.Or(e.Reason, e.Code.String()))
	for _, bad := range e.FieldViolations {
		text += fmt.Sprintf("\n  %s: %s", bad.GetField(), bad.GetDescription())
	}
	return text
}

// Unwrap is what failed on this side, where it did: the context's error, [ErrClosed], or why the request cannot be sent.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus makes status.Code and status.Convert work; it has the details that the server gave.
func (e *Error) GRPCStatus() *status.Status { return cmp.Or(e.told, status.New(e.Code, e.Message)) }

// Transient is whether the same call, made again, may succeed: the server says so, or it was the connection that failed.
func (e *Error) Transient() bool {
	switch {
	case e.cause != nil:
		return false
	case e.RetryAfter > 0, e.Reason == "RATE_LIMITED", e.Reason == "TOO_MANY_WATCHERS":
		return true
	case e.Reason != "":
		return e.Code == codes.Unavailable
	}
	switch e.Code {
	case codes.Unavailable, codes.Unknown, codes.Internal, codes.Canceled, codes.DeadlineExceeded:
		return true
	}
	return false
}

// failed is the Error of a call under this context, if it failed, and was to send this.
func (c *Client) failed(ctx context.Context, sent any, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	cause := c.ended(ctx)
	if message, ok := sent.(proto.Message); ok && cause == nil {
		// What is wrong with the message itself is not told apart from what may pass.
		_, cause = proto.Marshal(message)
	}
	return errorOf(cause, err)
}

// errorOf decodes what a call failed with; the cause is on this side, or nil.
func errorOf(cause, err error) *Error {
	told := status.Convert(err)
	decoded := &Error{Code: told.Code(), Message: told.Message(), cause: cause, told: told}
	for _, detail := range told.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			decoded.Reason, decoded.Metadata = detail.GetReason(), detail.GetMetadata()
		case *errdetails.BadRequest:
			decoded.FieldViolations = detail.GetFieldViolations()
		case *errdetails.RetryInfo:
			decoded.RetryAfter = detail.GetRetryDelay().AsDuration()
		}
	}
	return decoded
}

// over is the Error of what ended on this side, and what had gone wrong before.
func over(cause error, before *Error) *Error {
	code := codes.Canceled
	if errors.Is(cause, context.DeadlineExceeded) {
		code = codes.DeadlineExceeded
	}
	if before == nil {
		return &Error{Code: code, Message: cause.Error(), cause: cause}
	}
	return &Error{Code: code, Message: fmt.Sprintf("%v, after: %s", cause, before.Message), cause: errors.Join(cause, before)}
}

// errorOfTurn is why a turn did not complete.
func errorOfTurn(turn *v1.Turn) *Error {
	told := turn.GetError()
	message := "the turn ended as " + strings.TrimPrefix(turn.GetStatus().String(), "TURN_STATUS_")
	if told.GetMessage() != "" {
		message += ": " + told.GetMessage()
	}
	reason := ""
	if told.GetReason() != v1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		reason = strings.TrimPrefix(told.GetReason().String(), "ERROR_REASON_")
	}
	return &Error{Code: codes.Aborted, Reason: reason, Message: message, Metadata: told.GetMetadata()}
}

// decoded makes an Error of what streams fail with.
func (c *Client) decoded(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(ctx, desc, conn, method, opts...)
	return decodedStream{stream, c, ctx}, c.failed(ctx, nil, err)
}

type decodedStream struct {
	grpc.ClientStream
	client *Client
	// ctx is the caller's; the stream's own ends with the stream.
	ctx context.Context
}

func (s decodedStream) RecvMsg(message any) error {
	return s.client.failed(s.ctx, nil, s.ClientStream.RecvMsg(message))
}

func (s decodedStream) SendMsg(message any) error {
	return s.client.failed(s.ctx, message, s.ClientStream.SendMsg(message))
}

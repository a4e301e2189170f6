package agentruntime

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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

	cause error
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s [%s]", e.Message, cmp.Or(e.Reason, e.Code.String()))
	for _, bad := range e.FieldViolations {
		text += fmt.Sprintf("\n  %s: %s", bad.GetField(), bad.GetDescription())
	}
	return text
}

// Unwrap is the context's error, if it was the context that ended the call.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus makes status.Code work.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

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

// errorOf decodes what a call under this context failed with, if it did.
func errorOf(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	told := status.Convert(err)
	decoded := &Error{Code: told.Code(), Message: told.Message(), cause: ctx.Err()}
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
func decoded(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(ctx, desc, conn, method, opts...)
	return decodedStream{stream, ctx}, errorOf(ctx, err)
}

type decodedStream struct {
	grpc.ClientStream
	// ctx is the caller's; the stream's own ends with the stream.
	ctx context.Context
}

func (s decodedStream) RecvMsg(message any) error {
	if err := s.ClientStream.RecvMsg(message); err != io.EOF {
		return errorOf(s.ctx, err)
	}
	return io.EOF
}

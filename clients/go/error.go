package agentruntime

import (
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
	// FieldViolations are all fields that were refused.
	FieldViolations []FieldViolation
	// RetryAfter is how long the server wants to be left alone; 0: it did not say.
	RetryAfter time.Duration

	cause error
}

// FieldViolation is a field that was refused: its path in the request, and what is wrong with it.
type FieldViolation struct {
	Field, Description string
}

func (e *Error) Error() string {
	var text strings.Builder
	reason := e.Reason
	if reason == "" {
		reason = e.Code.String()
	}
	fmt.Fprintf(&text, "%s [%s]", e.Message, reason)
	for _, bad := range e.FieldViolations {
		fmt.Fprintf(&text, "\n  %s: %s", bad.Field, bad.Description)
	}
	return text.String()
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

// wantsSnapshot is whether the cursor means nothing to this log any more, so that only a snapshot helps.
func (e *Error) wantsSnapshot() bool {
	return e.Reason == "SEQUENCE_TRUNCATED" || e.Reason == "SESSION_REPLACED"
}

// errorOf decodes what a call under this context failed with.
func errorOf(ctx context.Context, err error) *Error {
	if err == nil {
		return nil
	}
	if decoded, ok := err.(*Error); ok {
		return decoded
	}
	told := status.Convert(err)
	decoded := &Error{Code: told.Code(), Message: told.Message(), cause: ctx.Err()}
	for _, detail := range told.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			decoded.Reason, decoded.Metadata = detail.GetReason(), detail.GetMetadata()
		case *errdetails.BadRequest:
			for _, bad := range detail.GetFieldViolations() {
				decoded.FieldViolations = append(decoded.FieldViolations, FieldViolation{bad.GetField(), bad.GetDescription()})
			}
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
	failed := &Error{Code: codes.Aborted, Message: message, Metadata: told.GetMetadata()}
	if told.GetReason() != v1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		failed.Reason = strings.TrimPrefix(told.GetReason().String(), "ERROR_REASON_")
	}
	return failed
}

// decoded makes an Error of what streams fail with.
func decoded(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(ctx, desc, conn, method, opts...)
	if err != nil {
		return nil, errorOf(ctx, err)
	}
	return decodedStream{stream, ctx}, nil
}

type decodedStream struct {
	grpc.ClientStream
	// ctx is the caller's; the stream's own ends with the stream.
	ctx context.Context
}

func (s decodedStream) RecvMsg(message any) error {
	err := s.ClientStream.RecvMsg(message)
	if err == nil || err == io.EOF {
		return err
	}
	return errorOf(s.ctx, err)
}

package agentruntime_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	agentruntime "github.com/agent-runtime/agent-runtime/clients/go"
	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

// A view of a session, which outlives whatever happens to the connection or the server.
func ExampleClient_Watch() {
	client, err := agentruntime.Dial("127.0.0.1:50051", agentruntime.Options{Key: "the key"})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	var state agentruntime.State
	for event, err := range client.Watch(context.Background(), &v1.WatchSessionRequest{SessionId: "ses_1"}) {
		if err != nil {
			log.Fatal(err)
		}
		state.Apply(event)
		fmt.Println(state.Proto().GetSession().GetStatus(), len(state.Proto().GetBlocks()))
	}
}

// What failed, and what there is to do about it.
func ExampleError() {
	client, err := agentruntime.Dial("127.0.0.1:50051", agentruntime.Options{Key: "the key"})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	answer, err := client.Ask(ctx, "ses_1", "hello")
	var failed *agentruntime.Error
	switch {
	case err == nil:
		fmt.Println(answer)
	case errors.Is(err, context.DeadlineExceeded):
		fmt.Println("the turn goes on; watch the session")
	case errors.As(err, &failed) && failed.Reason == "SESSION_NOT_FOUND":
		fmt.Println("it was deleted")
	case errors.As(err, &failed):
		fmt.Println(failed.Code, failed.Reason, failed.FieldViolations, failed.RetryAfter)
	}
}

// A list of sessions that is always as the server's.
func ExampleClient_WatchSessions() {
	client, err := agentruntime.Dial("127.0.0.1:50051", agentruntime.Options{Key: "the key"})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	sessions := map[string]*v1.Session{}
	for response, err := range client.WatchSessions(context.Background(), &v1.WatchSessionsRequest{}) {
		if err != nil {
			log.Fatal(err)
		}
		for _, change := range response.GetChanges() {
			id := change.GetSession().GetSessionId()
			if change.GetKind() == v1.SessionChangeKind_SESSION_CHANGE_KIND_REMOVED {
				delete(sessions, id)
			} else {
				sessions[id] = change.GetSession()
			}
		}
		fmt.Println(len(sessions), response.GetSynced())
	}
}

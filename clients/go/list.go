package agentruntime

import (
	"context"
	"iter"
	"maps"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

// WatchSessions streams how the list of sessions changes: all of it first, or what changed after a revision. It survives what
// [Client.Watch] survives. Where the list has to come anew, what went away meanwhile is told as REMOVED before it is synced
// again; but a revision of the caller's that the server no longer knows is an error, for only the caller knows what it has.
// Every range over it begins anew.
func (c *Client) WatchSessions(ctx context.Context, request *v1.WatchSessionsRequest) iter.Seq2[*v1.WatchSessionsResponse, error] {
	return func(yield func(*v1.WatchSessionsResponse, error) bool) {
		list := listing{request: proto.CloneOf(request), known: map[string]string{}}
		watch := stream[v1.WatchSessionsResponse]{client: c, silence: c.silence, cursor: &list.request.AfterRevision}
		watch.open = func(ctx context.Context) (grpc.ServerStreamingClient[v1.WatchSessionsResponse], error) {
			if list.request.AfterRevision == nil {
				list.gone = maps.Clone(list.known)
			}
			return c.SessionServiceClient.WatchSessions(ctx, list.request)
		}
		watch.take = func(response *v1.WatchSessionsResponse) (bool, error) {
			list.take(response)
			return !yield(response, nil), nil
		}
		if request.AfterRevision == nil {
			watch.lost = []string{"SEQUENCE_TRUNCATED", "SEQUENCE_AHEAD"}
		}
		watch.follow(ctx, func(err error) { yield(nil, err) })
	}
}

// listing is what was told of a list.
type listing struct {
	// request has the revision up to where; nil: the list is on its way.
	request *v1.WatchSessionsRequest
	// known has the uid of each session that was told, by its id; gone those of them that the list that comes has not named.
	known, gone map[string]string
}

func (l *listing) take(response *v1.WatchSessionsResponse) {
	for _, change := range response.GetChanges() {
		session := change.GetSession()
		delete(l.gone, session.GetSessionId())
		l.known[session.GetSessionId()] = session.GetUid()
		if change.GetKind() == v1.SessionChangeKind_SESSION_CHANGE_KIND_REMOVED {
			delete(l.known, session.GetSessionId())
		}
	}
	if response.GetSynced() {
		for id, uid := range l.gone {
			delete(l.known, id)
			gone := &v1.Session{SessionId: id, Uid: uid}
			response.Changes = append(response.Changes, &v1.SessionChange{Kind: v1.SessionChangeKind_SESSION_CHANGE_KIND_REMOVED, Session: gone})
		}
		l.gone = nil
	}
	if response.GetSynced() || response.GetRevision() > 0 {
		l.request.AfterRevision = &response.Revision
	}
}

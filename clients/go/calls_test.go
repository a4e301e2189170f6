package agentruntime

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

func TestAProfileIsKeptChangedAndDeleted(t *testing.T) {
	t.Parallel()
	ctx, client := within(t, patience), shared.client(t)
	made, err := client.CreateProfile(ctx, &v1.CreateProfileRequest{Profile: &v1.AgentProfile{Name: "first", Agent: "scripted"}})
	must(t, err)
	id := made.GetProfile().GetProfileId()
	got, err := client.GetProfile(ctx, &v1.GetProfileRequest{ProfileId: id})
	must(t, err)
	same(t, got.GetProfile(), made.GetProfile())
	change := &v1.UpdateProfileRequest{
		Profile:    &v1.AgentProfile{ProfileId: id, Name: "second", Etag: made.GetProfile().GetEtag()},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"name"}},
	}
	updated, err := client.UpdateProfile(ctx, change)
	must(t, err)
	if profile := updated.GetProfile(); profile.GetName() != "second" || profile.GetRevision() != 2 {
		t.Error(profile)
	}
	if _, err = client.UpdateProfile(ctx, change); failure(t, err).Reason != "ETAG_MISMATCH" {
		t.Error(err)
	}
	old, err := client.GetProfile(ctx, &v1.GetProfileRequest{ProfileId: id, Revision: 1})
	must(t, err)
	if old.GetProfile().GetName() != "first" {
		t.Error(old)
	}
	another, err := client.CreateProfile(ctx, &v1.CreateProfileRequest{Profile: &v1.AgentProfile{Name: "third", Agent: "scripted"}})
	must(t, err)
	_, err = client.DeleteProfile(ctx, &v1.DeleteProfileRequest{ProfileId: id})
	must(t, err)
	var ids []string
	for _, profile := range all(t, Pages(ctx, client.ListProfiles, &v1.ListProfilesRequest{PageSize: 1}), (*v1.ListProfilesResponse).GetProfiles) {
		ids = append(ids, profile.GetProfileId())
	}
	if slices.Contains(ids, id) || !slices.Contains(ids, another.GetProfile().GetProfileId()) {
		t.Errorf("listed: %v", ids)
	}
}

func TestATurnIsReadLongAfter(t *testing.T) {
	t.Parallel()
	ctx, client := within(t, patience), shared.client(t)
	id := create(t, client)
	_, err := client.Ask(ctx, id, script(step{"say": "Hi."}))
	must(t, err)
	turn := all(t, Pages(ctx, client.ListTurns, &v1.ListTurnsRequest{SessionId: id}), (*v1.ListTurnsResponse).GetTurns)[0]
	got, err := client.GetTurn(ctx, &v1.GetTurnRequest{SessionId: id, TurnId: turn.GetTurnId()})
	must(t, err)
	same(t, got.GetTurn(), turn)
	if turn.GetStatus() != v1.TurnStatus_TURN_STATUS_COMPLETED {
		t.Error(turn)
	}
	_, err = client.CancelTurn(ctx, &v1.CancelTurnRequest{SessionId: id, TurnId: turn.GetTurnId()})
	if failure(t, err).Reason != "TURN_FINISHED" {
		t.Error(err)
	}
	if _, err = client.GetTurn(ctx, &v1.GetTurnRequest{SessionId: id, TurnId: "turn_none"}); failure(t, err).Reason != "TURN_NOT_FOUND" {
		t.Error(err)
	}
}

func TestAnAlwaysAnswersUntilItsRuleIsDeleted(t *testing.T) {
	t.Parallel()
	ctx, client := within(t, patience), shared.client(t)
	id := create(t, client)
	asks := script(step{"ask": step{"tool": "Bash", "input": step{"command": "ls"}}})
	// asked plays it, and is how often somebody had to answer.
	asked := func() (times int) {
		for event, err := range client.RunTurn(ctx, &v1.RunTurnRequest{SessionId: id, Text: asks}) {
			must(t, err)
			if permission := event.GetPermissionRequested().GetPermission(); permission != nil && permission.GetResolution() == nil {
				times++
				_, err := client.ResolvePermission(ctx, &v1.ResolvePermissionRequest{
					SessionId: id, PermissionId: permission.GetPermissionId(), OptionId: "allow_always",
				})
				must(t, err)
			}
		}
		return times
	}
	rules := func() []*v1.PermissionRule {
		listed, err := client.ListPermissionRules(ctx, &v1.ListPermissionRulesRequest{SessionId: id})
		must(t, err)
		return listed.GetRules()
	}
	for play, expected := range []int{1, 0, 1} {
		if times := asked(); times != expected {
			t.Errorf("play %d asked %d times", play, times)
		}
		left := rules()
		if len(left) != 1 || left[0].GetEffect() != v1.PermissionEffect_PERMISSION_EFFECT_ALLOW {
			t.Fatalf("after play %d: %v", play, left)
		}
		if play == 1 {
			_, err := client.DeletePermissionRule(ctx, &v1.DeletePermissionRuleRequest{SessionId: id, RuleId: left[0].GetRuleId()})
			must(t, err)
		}
	}
	state, _ := snapshot(t, client, id)
	if len(state.GetPermissionRules()) != 1 || !proto.Equal(state.GetPermissionRules()[0], rules()[0]) {
		t.Errorf("folded: %v", state.GetPermissionRules())
	}
}

func TestAnImageIsReadByItsHash(t *testing.T) {
	t.Parallel()
	// The program is never heard: what is accepted with a message is kept whatever becomes of its turn.
	program := t.TempDir() + "/claude"
	must(t, os.WriteFile(program, []byte("#!/bin/sh\nexec cat > /dev/null\n"), 0o700))
	client := own(t, "--sandbox", "process", "--claude-code", program).client(t)
	ctx := within(t, patience)
	created, err := client.CreateSession(ctx, &v1.CreateSessionRequest{Agent: "claude-code"})
	must(t, err)
	id := created.GetSession().GetSessionId()
	picture := append([]byte("\x89PNG\r\n\x1a\n"), bytes.Repeat([]byte("grey"), 100_000)...)
	image := &v1.ContentPart_Image{Image: &v1.Blob{MediaType: "image/png", Data: picture}}
	sent, err := client.SendMessage(ctx, &v1.SendMessageRequest{SessionId: id, Parts: []*v1.ContentPart{{Part: image}}})
	must(t, err)
	hash := sha256.Sum256(picture)
	var named *v1.Blob
	for event, err := range client.Watch(ctx, after(id, 0)) {
		must(t, err)
		if block := event.GetBlockStart().GetBlock(); block.GetBlockId() == sent.GetTurn().GetBlockId() {
			named = block.GetUserMessage().GetParts()[0].GetImage()
			break
		}
	}
	if named.GetSha256() != hex.EncodeToString(hash[:]) || named.GetSizeBytes() != int64(len(picture)) {
		t.Errorf("it is named %v", named)
	}
	data, err := io.ReadAll(Bytes(client.ReadBlob(ctx, &v1.ReadBlobRequest{SessionId: id, Sha256: named.GetSha256()})))
	must(t, err)
	if !bytes.Equal(data, picture) {
		t.Errorf("%d bytes came", len(data))
	}
	if _, err = io.ReadAll(Bytes(client.ReadBlob(ctx, &v1.ReadBlobRequest{SessionId: id, Sha256: hex.EncodeToString(make([]byte, 32))}))); failure(t, err).Reason != "BLOB_NOT_FOUND" {
		t.Error(err)
	}
}

// listed folds a watch of the list until it is synced so often, and calls then in between.
func listed(t *testing.T, client *Client, request *v1.WatchSessionsRequest, times int, then func(time int)) map[string]*v1.Session {
	t.Helper()
	list := map[string]*v1.Session{}
	synced := 0
	for response, err := range client.WatchSessions(within(t, patience), request) {
		must(t, err)
		for _, change := range response.GetChanges() {
			session := change.GetSession()
			if change.GetKind() == v1.SessionChangeKind_SESSION_CHANGE_KIND_REMOVED {
				delete(list, session.GetSessionId())
			} else {
				list[session.GetSessionId()] = session
			}
		}
		if response.GetSynced() {
			if synced++; synced == times {
				return list
			}
			then(synced)
		}
	}
	t.Fatal("the watch ended")
	return nil
}

func TestTheListIsWatchedThroughCutsAndRestarts(t *testing.T) {
	t.Parallel()
	server := own(t)
	proxy := proxied(t, server)
	client, direct := dial(t, proxy.addr, Options{Key: server.key()}), server.client(t)
	labels := map[string]string{"mine": "yes"}
	add := func(name string) string {
		created, err := direct.CreateSession(within(t, patience), &v1.CreateSessionRequest{Agent: "scripted", Name: name, Labels: labels})
		must(t, err)
		return created.GetSession().GetSessionId()
	}
	stays, goes := add("stays"), add("goes")
	create(t, direct)
	var comes string
	list := listed(t, client, &v1.WatchSessionsRequest{Labels: labels}, 3, func(time int) {
		if time == 1 {
			proxy.cut()
			_, err := direct.DeleteSession(within(t, patience), &v1.DeleteSessionRequest{SessionId: goes})
			must(t, err)
		} else {
			server.kill()
			must(t, server.start())
			comes = add("comes")
		}
	})
	if len(list) != 2 || list[stays].GetName() != "stays" || list[comes].GetName() != "comes" {
		t.Errorf("listed: %v", list)
	}
}

func TestAListThatComesAnewTellsWhatIsGone(t *testing.T) {
	t.Parallel()
	list := listing{request: &v1.WatchSessionsRequest{}, known: map[string]string{"ses_1": "a", "ses_2": "b"}, gone: map[string]string{"ses_1": "a", "ses_2": "b"}}
	added := &v1.SessionChange{Kind: v1.SessionChangeKind_SESSION_CHANGE_KIND_ADDED, Session: &v1.Session{SessionId: "ses_1", Uid: "a"}}
	list.take(&v1.WatchSessionsResponse{Changes: []*v1.SessionChange{added}})
	if list.request.AfterRevision != nil {
		t.Error("a list that is on its way has no revision")
	}
	last := &v1.WatchSessionsResponse{Synced: true, Revision: 7}
	list.take(last)
	if len(last.Changes) != 1 || last.Changes[0].GetKind() != v1.SessionChangeKind_SESSION_CHANGE_KIND_REMOVED || last.Changes[0].GetSession().GetSessionId() != "ses_2" {
		t.Errorf("told: %v", last.Changes)
	}
	if *list.request.AfterRevision != 7 || len(list.known) != 1 {
		t.Error(list)
	}
}

func TestARevisionThatMeansNothingIsAnError(t *testing.T) {
	t.Parallel()
	client, ahead := shared.client(t), int64(1<<40)
	err := first(client.WatchSessions(within(t, patience), &v1.WatchSessionsRequest{AfterRevision: &ahead}))
	if failure(t, err).Reason != "SEQUENCE_AHEAD" {
		t.Error(err)
	}
}

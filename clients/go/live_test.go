package agentruntime

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

// patience is how long anything in a test may take before it counts as a hang.
const patience = 3 * time.Minute

func create(t *testing.T, client *Client) string {
	t.Helper()
	created, err := client.CreateSession(within(t, patience), &v1.CreateSessionRequest{Agent: "scripted"})
	must(t, err)
	return created.GetSession().GetSessionId()
}

// all is everything that a list has.
func all[A, T any](t *testing.T, pages iter.Seq2[A, error], items func(A) []T) []T {
	t.Helper()
	var list []T
	for page, err := range pages {
		must(t, err)
		list = append(list, items(page)...)
	}
	return list
}

// first is the error that a sequence begins with.
func first[T any](items iter.Seq2[T, error]) error {
	for _, err := range items {
		return err
	}
	return nil
}

func after(id string, sequence int64) *v1.WatchSessionRequest {
	return &v1.WatchSessionRequest{SessionId: id, AfterSequence: &sequence}
}

// snapshot is what a reload shows, and its sequence.
func snapshot(t *testing.T, client *Client, id string) (*v1.SessionState, int64) {
	t.Helper()
	var state State
	for event, err := range client.Watch(within(t, patience), &v1.WatchSessionRequest{SessionId: id}) {
		must(t, err)
		state.Apply(event)
		if event.GetSnapshotComplete() != nil {
			return state.Proto(), event.GetSequence()
		}
	}
	t.Fatal("no snapshot")
	return nil, 0
}

// apply folds what a watch after one sequence brings up to another, and returns where it really ended.
func apply(t *testing.T, client *Client, state *State, id string, from, to int64) int64 {
	t.Helper()
	for event, err := range client.Watch(within(t, patience), after(id, from)) {
		must(t, err)
		state.Apply(event)
		if event.GetSequence() >= to {
			return event.GetSequence()
		}
	}
	t.Fatal("the watch ended")
	return 0
}

func same(t *testing.T, got, want proto.Message) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Errorf("it is\n%v\nand not\n%v", got, want)
	}
}

func failure(t *testing.T, err error) *Error {
	t.Helper()
	var failed *Error
	if !errors.As(err, &failed) {
		t.Fatalf("this is no Error: %v", err)
	}
	return failed
}

func TestASessionAnswersAndShowsItsFiles(t *testing.T) {
	t.Parallel()
	ctx, client := within(t, patience), shared.client(t)
	created, err := client.CreateSession(ctx, &v1.CreateSessionRequest{
		Agent: "scripted", Labels: map[string]string{"test": "answers"},
		WorkspaceFiles: []*v1.FileContent{{Path: "a.txt", Content: []byte("hi")}},
	})
	must(t, err)
	id := created.GetSession().GetSessionId()
	message := script(step{"think": "Easy."}, step{"say": "One, ", "size": 2}, step{"run": "echo hello > b.txt"}, step{"say": "two."})
	var ids []string
	for block, err := range client.Run(ctx, id, message) {
		must(t, err)
		if !slices.Contains(ids, block.GetBlockId()) {
			ids = append(ids, block.GetBlockId())
		}
	}
	blocks := all(t, Pages(ctx, client.ListBlocks, &v1.ListBlocksRequest{SessionId: id, PageSize: 2}), (*v1.ListBlocksResponse).GetBlocks)
	if len(blocks) != 6 || !slices.EqualFunc(blocks, ids, func(b *v1.Block, id string) bool { return b.GetBlockId() == id }) {
		t.Errorf("streamed %v, listed %v", ids, blocks)
	}
	files := all(t, Pages(ctx, client.ListFiles, &v1.ListFilesRequest{SessionId: id}), (*v1.ListFilesResponse).GetFiles)
	if len(files) != 2 || files[0].GetPath() != "a.txt" || files[1].GetPath() != "b.txt" {
		t.Errorf("files: %v", files)
	}
	text, err := client.Ask(ctx, id, script(step{"say": "Grüße"}, step{"say": "😀"}))
	must(t, err)
	if text != "Grüße\n\n😀" {
		t.Errorf("it says %q", text)
	}
	listed := all(t, Pages(ctx, client.ListSessions, &v1.ListSessionsRequest{Labels: map[string]string{"test": "answers"}}), (*v1.ListSessionsResponse).GetSessions)
	if len(listed) != 1 || listed[0].GetSessionId() != id {
		t.Errorf("sessions: %v", listed)
	}
}

func TestALongTextComesWhole(t *testing.T) {
	t.Parallel()
	client := shared.client(t)
	text, err := client.Ask(within(t, patience), create(t, client), script(step{"count": 20_000, "size": 20}))
	must(t, err)
	if text != numbers(20_000) {
		t.Errorf("%d bytes came", len(text))
	}
}

func TestFilesGoUpAndDown(t *testing.T) {
	t.Parallel()
	ctx, client := within(t, patience), shared.client(t)
	id := create(t, client)
	big := make([]byte, 3*piece+1)
	for i := range big {
		big[i] = byte(rand.Uint32())
	}
	source := bytes.NewReader(append([]byte("skipped"), big...))
	source.Seek(7, 0)
	uploaded, err := client.UploadFile(ctx, &v1.UploadFileHeader{SessionId: id, Path: "dir/big"}, source)
	must(t, err)
	content, err := io.ReadAll(Bytes(client.ReadFile(ctx, &v1.ReadFileRequest{SessionId: id, Path: "dir/big"})))
	must(t, err)
	if hash := sha256.Sum256(content); !bytes.Equal(content, big) || hex.EncodeToString(hash[:]) != uploaded.GetFile().GetSha256() {
		t.Error("what came back is not what was sent")
	}
	_, err = client.UploadFile(ctx, &v1.UploadFileHeader{SessionId: id, Path: "dir/big", IfSha256: "-"}, bytes.NewReader(big[1:]))
	if failure(t, err).Reason != "ETAG_MISMATCH" {
		t.Error(err)
	}
	_, err = client.UploadFile(ctx, &v1.UploadFileHeader{SessionId: id, Path: "broken"}, brokenFile{bytes.NewReader(big)})
	if !errors.Is(err, os.ErrClosed) {
		t.Errorf("a source that breaks: %v", err)
	}
	if _, err = io.ReadAll(Bytes(client.ReadFile(ctx, &v1.ReadFileRequest{SessionId: id, Path: "broken"}))); failure(t, err).Reason != "FILE_NOT_FOUND" {
		t.Errorf("half a file is there: %v", err)
	}
}

// brokenFile cannot be read to its end.
type brokenFile struct{ *bytes.Reader }

func (b brokenFile) Read(to []byte) (int, error) {
	if b.Len() < piece {
		return 0, os.ErrClosed
	}
	return b.Reader.Read(to)
}

func TestAPermissionIsAskedForAndGiven(t *testing.T) {
	t.Parallel()
	ctx, client := within(t, patience), shared.client(t)
	id := create(t, client)
	asks := script(step{"ask": step{"tool": "Bash", "input": step{"command": "ls"}}, "then": []step{{"say": "It ran."}}})
	var permission string
	for event, err := range client.RunTurn(ctx, &v1.RunTurnRequest{SessionId: id, Text: asks}) {
		must(t, err)
		if event.GetPermissionRequested() == nil {
			continue
		}
		waits, err := client.GetSession(ctx, &v1.GetSessionRequest{SessionId: id})
		must(t, err)
		permission = waits.GetOpenPermissions()[0].GetPermissionId()
		_, err = client.ResolvePermission(ctx, &v1.ResolvePermissionRequest{SessionId: id, PermissionId: permission, OptionId: "allow_once"})
		must(t, err)
	}
	state, _ := snapshot(t, client, id)
	if said := state.Blocks[len(state.Blocks)-1].GetAssistantText().GetText(); said != "It ran." {
		t.Errorf("it says %q", said)
	}
	_, err := client.ResolvePermission(ctx, &v1.ResolvePermissionRequest{SessionId: id, PermissionId: permission, OptionId: "reject_once"})
	if late := failure(t, err); late.Reason != "ALREADY_RESOLVED" || late.Metadata["option_id"] != "allow_once" {
		t.Error(late)
	}
}

func TestAnInterruptEndsTheTurn(t *testing.T) {
	t.Parallel()
	ctx, client := within(t, patience), shared.client(t)
	id := create(t, client)
	var end v1.TurnStatus
	for event, err := range client.RunTurn(ctx, &v1.RunTurnRequest{SessionId: id, Text: endless}) {
		must(t, err)
		if event.GetBlockDelta() != nil && event.GetBlockDelta().GetOffset() == 0 {
			stopped, err := client.InterruptTurn(ctx, &v1.InterruptTurnRequest{SessionId: id})
			must(t, err)
			if stopped.GetTurn() == nil {
				t.Error("there was nothing to stop")
			}
		}
		if event.GetTurnUpdated() != nil {
			end = event.GetTurnUpdated().GetTurn().GetStatus()
		}
	}
	if end != v1.TurnStatus_TURN_STATUS_INTERRUPTED {
		t.Errorf("it ended as %v", end)
	}
}

func TestMessagesWaitTheirTurn(t *testing.T) {
	t.Parallel()
	ctx, client := within(t, patience), shared.client(t)
	id := create(t, client)
	send := func(text string, policy v1.BusyPolicy) string {
		sent, err := client.SendMessage(ctx, &v1.SendMessageRequest{SessionId: id, Text: text, BusyPolicy: policy})
		must(t, err)
		return sent.GetTurn().GetTurnId()
	}
	active := send(endless, v1.BusyPolicy_BUSY_POLICY_REJECT)
	waits := send(script(step{"say": "later"}), v1.BusyPolicy_BUSY_POLICY_QUEUE)
	gone := send(script(step{"say": "never"}), v1.BusyPolicy_BUSY_POLICY_QUEUE)
	cancelled, err := client.CancelTurn(ctx, &v1.CancelTurnRequest{SessionId: id, TurnId: gone})
	must(t, err)
	if status := cancelled.GetTurn().GetStatus(); status != v1.TurnStatus_TURN_STATUS_CANCELLED {
		t.Errorf("it is %v", status)
	}
	first := send(script(step{"say": "now"}), v1.BusyPolicy_BUSY_POLICY_INTERRUPT)
	var ended []string
	for event, err := range client.Watch(ctx, after(id, 0)) {
		must(t, err)
		if turn := event.GetTurnUpdated().GetTurn(); turn.GetEndTime() != nil {
			if ended = append(ended, turn.GetTurnId()); turn.GetTurnId() == waits {
				break
			}
		}
	}
	if !slices.Equal(ended, []string{gone, active, first, waits}) {
		t.Errorf("%v, %v, %v and %v ended as %v", gone, active, first, waits, ended)
	}
	turns := all(t, Pages(ctx, client.ListTurns, &v1.ListTurnsRequest{SessionId: id, PageSize: 3}), (*v1.ListTurnsResponse).GetTurns)
	if len(turns) != 4 || turns[3].GetTurnId() != first {
		t.Errorf("turns: %v", turns)
	}
}

func TestAQuestionIsAnswered(t *testing.T) {
	t.Parallel()
	ctx, client := within(t, patience), shared.client(t)
	id := create(t, client)
	choices := []step{{"label": "red", "description": "As fire."}, {"label": "blue", "description": "As the sea."}}
	asks := step{"question": []step{{"question": "Which?", "header": "Colour", "options": choices, "multiSelect": false}}, "then": []step{{"say": "So be it."}}}
	var answer *v1.AnswerQuestionRequest
	for event, err := range client.RunTurn(ctx, &v1.RunTurnRequest{SessionId: id, Text: script(asks)}) {
		must(t, err)
		if event.GetQuestionRequested() == nil {
			continue
		}
		question := event.GetQuestionRequested().GetQuestion().GetQuestionId()
		answer = &v1.AnswerQuestionRequest{SessionId: id, QuestionId: question, Answers: []*v1.QuestionAnswer{{Choices: []string{"blue"}}}}
		_, err = client.AnswerQuestion(ctx, answer)
		must(t, err)
	}
	state, _ := snapshot(t, client, id)
	if said := state.Blocks[len(state.Blocks)-1].GetAssistantText().GetText(); said != "So be it." {
		t.Errorf("it says %q", said)
	}
	if got := state.Questions[0].GetResolution().GetAnswers(); len(got) != 1 || !slices.Equal(got[0].GetChoices(), []string{"blue"}) {
		t.Errorf("answers: %v", got)
	}
	if _, err := client.AnswerQuestion(ctx, answer); failure(t, err).Reason != "ALREADY_RESOLVED" {
		t.Error(err)
	}
}

func TestASessionIsUpdated(t *testing.T) {
	t.Parallel()
	ctx, client := within(t, patience), shared.client(t)
	id := create(t, client)
	request := &v1.UpdateSessionRequest{Session: &v1.Session{SessionId: id, Name: "after"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"name"}}}
	updated, err := client.UpdateSession(ctx, request)
	must(t, err)
	if updated.GetSession().GetName() != "after" {
		t.Error(updated)
	}
	request.Session.Etag = "stale"
	if _, err = client.UpdateSession(ctx, request); failure(t, err).Reason != "ETAG_MISMATCH" {
		t.Error(err)
	}
	state, head := snapshot(t, client, id)
	var replayed State
	apply(t, client, &replayed, id, 0, head)
	same(t, replayed.Proto(), state)
}

func TestAProfileTakesEffect(t *testing.T) {
	t.Parallel()
	ctx, client := within(t, patience), shared.client(t)
	greeting := map[string]*v1.Secret{"GREETING": {Source: &v1.Secret_Value{Value: "hi"}}}
	made, err := client.CreateProfile(ctx, &v1.CreateProfileRequest{Profile: &v1.AgentProfile{Name: "greets", Agent: "scripted", Environment: greeting}})
	must(t, err)
	created, err := client.CreateSession(ctx, &v1.CreateSessionRequest{ProfileId: made.GetProfile().GetProfileId()})
	must(t, err)
	output := ""
	for block, err := range client.Run(ctx, created.GetSession().GetSessionId(), script(step{"run": "echo $GREETING"})) {
		must(t, err)
		output = block.GetToolResult().GetText()
	}
	if output != "hi\n" {
		t.Errorf("it says %q", output)
	}
}

func TestATurnThatFailsIsAnError(t *testing.T) {
	t.Parallel()
	client := shared.client(t)
	_, err := client.Ask(within(t, patience), create(t, client), script(step{"error": "no luck"}))
	if failed := failure(t, err); failed.Code != codes.Aborted || failed.Reason != "AGENT_FAILED" || !strings.Contains(failed.Message, "no luck") {
		t.Error(failed)
	}
}

func rename(t *testing.T, client *Client, id, name string) {
	t.Helper()
	request := &v1.UpdateSessionRequest{Session: &v1.Session{SessionId: id, Name: name}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"name"}}}
	_, err := client.UpdateSession(within(t, patience), request)
	must(t, err)
}

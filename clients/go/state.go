package agentruntime

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

// State is what there is to show of a session: the fold of its events, by the "Fold:" lines of the contract. The zero value is
// ready for the first event.
type State struct {
	value v1.SessionState
}

// Proto is the state as the contract has it. It belongs to the State: copy what is to be kept over the next event.
func (s *State) Proto() *v1.SessionState { return &s.value }

// Block is the block of that id, or nil. It changes as events are applied.
func (s *State) Block(id string) *v1.Block {
	if at := last(s.value.Blocks, id, (*v1.Block).GetBlockId); at >= 0 {
		return s.value.Blocks[at]
	}
	return nil
}

// Apply folds one event in.
func (s *State) Apply(event *v1.SessionEvent) {
	state := &s.value
	switch kind := event.GetKind().(type) {
	case *v1.SessionEvent_BlockStart:
		s.putBlock(kind.BlockStart.GetBlock())
	case *v1.SessionEvent_BlockComplete:
		s.putBlock(kind.BlockComplete.GetBlock())
	case *v1.SessionEvent_BlockDelta:
		grow(s.Block(kind.BlockDelta.GetBlockId()), kind.BlockDelta)
	case *v1.SessionEvent_BlockUpdate:
		patch(s.Block(kind.BlockUpdate.GetBlockId()), kind.BlockUpdate)
	case *v1.SessionEvent_TurnQueued:
		s.putTurn(kind.TurnQueued.GetTurn())
	case *v1.SessionEvent_TurnUpdated:
		s.putTurn(kind.TurnUpdated.GetTurn())
	case *v1.SessionEvent_ConversationUpdated:
		put(&state.Conversations, kind.ConversationUpdated.GetConversation(), (*v1.Conversation).GetConversationId)
		if session := state.Session; session != nil {
			session.Usage = kind.ConversationUpdated.GetSessionUsage()
		}
	case *v1.SessionEvent_SessionCreated:
		proto.Reset(state)
		state.Session = proto.CloneOf(kind.SessionCreated.GetSession())
		if session := state.Session; session != nil {
			session.OldestSequence = 0
		}
	case *v1.SessionEvent_SessionUpdated:
		if session, to := state.Session, kind.SessionUpdated; session != nil {
			session.Name, session.Labels, session.Metadata = to.GetName(), to.GetLabels(), to.GetMetadata()
			session.Options, session.Etag = to.GetOptions(), to.GetEtag()
		}
	case *v1.SessionEvent_StatusChanged:
		if session, to := state.Session, kind.StatusChanged; session != nil {
			session.Status, session.Error = to.GetStatus(), to.GetError()
		}
	case *v1.SessionEvent_SandboxChanged:
		if session := state.Session; session != nil {
			session.Sandbox = kind.SandboxChanged.GetSandbox()
		}
	case *v1.SessionEvent_PermissionRequested:
		put(&state.Permissions, proto.CloneOf(kind.PermissionRequested.GetPermission()), (*v1.PermissionRequest).GetPermissionId)
	case *v1.SessionEvent_PermissionResolved:
		to := kind.PermissionResolved
		if at := last(state.Permissions, to.GetPermissionId(), (*v1.PermissionRequest).GetPermissionId); at >= 0 {
			state.Permissions[at].Resolution = to.GetResolution()
		}
	case *v1.SessionEvent_PermissionRulesChanged:
		state.PermissionRules = slices.Clone(kind.PermissionRulesChanged.GetRules())
	case *v1.SessionEvent_QuestionRequested:
		put(&state.Questions, proto.CloneOf(kind.QuestionRequested.GetQuestion()), (*v1.Question).GetQuestionId)
	case *v1.SessionEvent_QuestionResolved:
		to := kind.QuestionResolved
		if at := last(state.Questions, to.GetQuestionId(), (*v1.Question).GetQuestionId); at >= 0 {
			state.Questions[at].Resolution = to.GetResolution()
		}
	case *v1.SessionEvent_FilesChanged:
		for _, change := range kind.FilesChanged.GetChanges() {
			state.Files = changed(state.Files, change)
		}
	case *v1.SessionEvent_SnapshotStart:
		proto.Reset(state)
	case *v1.SessionEvent_SnapshotChunk:
		proto.Merge(state, kind.SnapshotChunk.GetState())
	}
	if session := state.Session; session != nil && event.GetSequence() > 0 {
		session.Sequence = event.GetSequence()
		if event.GetBookmark() == nil {
			session.LastActivityTime = event.GetEventTime()
		}
	}
}

func (s *State) putBlock(block *v1.Block) {
	block = proto.CloneOf(block)
	if held := s.Block(block.GetBlockId()); held != nil {
		// It stays the same one for those who hold it.
		proto.Reset(held)
		proto.Merge(held, block)
		return
	}
	s.value.Blocks = append(s.value.Blocks, block)
}

func (s *State) putTurn(turn *v1.Turn) {
	put(&s.value.Turns, turn, (*v1.Turn).GetTurnId)
	session := s.value.Session
	if session == nil {
		return
	}
	session.ActiveTurn = nil
	var first, rest []*v1.Turn
	for _, turn := range s.value.Turns {
		switch turn.GetStatus() {
		case v1.TurnStatus_TURN_STATUS_RUNNING, v1.TurnStatus_TURN_STATUS_AWAITING_INPUT, v1.TurnStatus_TURN_STATUS_PARKED:
			session.ActiveTurn = turn
		case v1.TurnStatus_TURN_STATUS_QUEUED:
			if turn.GetGoesFirst() {
				first = append(first, turn)
			} else {
				rest = append(rest, turn)
			}
		}
	}
	// The newest of those that go first goes before the others.
	slices.Reverse(first)
	session.QueuedTurns = append(first, rest...)
}

// last is where the item of that id is, or -1. What changes is nearly always among the newest.
func last[T any](items []T, id string, idOf func(T) string) int {
	for at := len(items) - 1; at >= 0; at-- {
		if idOf(items[at]) == id {
			return at
		}
	}
	return -1
}

// put is items[id] = item: it replaces, or adds at the end.
func put[T any](items *[]T, item T, idOf func(T) string) {
	if at := last(*items, idOf(item), idOf); at >= 0 {
		(*items)[at] = item
	} else {
		*items = append(*items, item)
	}
}

// grow appends what the block does not hold yet. Offsets are bytes, as those of Go's strings are.
func grow(block *v1.Block, delta *v1.BlockDelta) {
	var text *string
	switch content := block.GetContent().(type) {
	case *v1.Block_AssistantText:
		text = &content.AssistantText.Text
	case *v1.Block_Thinking:
		text = &content.Thinking.Text
	case *v1.Block_ToolUse:
		text = &content.ToolUse.InputJson
	case *v1.Block_ToolResult:
		if content.ToolResult.Output == nil {
			content.ToolResult.Output = &v1.ToolResult_Text{}
		}
		output, ok := content.ToolResult.Output.(*v1.ToolResult_Text)
		if !ok {
			return
		}
		text = &output.Text
	default:
		return
	}
	known := int64(len(*text)) - delta.GetOffset()
	if known >= 0 && known < int64(len(delta.GetDelta())) {
		*text += delta.GetDelta()[known:]
	}
}

// patch replaces the namesake of each set field, in the block or in its content.
func patch(block *v1.Block, update *v1.BlockUpdate) {
	if block == nil {
		return
	}
	targets := []protoreflect.Message{block.ProtoReflect()}
	if content := targets[0].WhichOneof(targets[0].Descriptor().Oneofs().ByName("content")); content != nil {
		targets = append(targets, targets[0].Mutable(content).Message())
	}
	update.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		for _, target := range targets {
			if namesake := target.Descriptor().Fields().ByName(field.Name()); namesake != nil && field.Name() != "block_id" {
				target.Set(namesake, value)
			}
		}
		return true
	})
}

// changed is the sorted files after the change. Go compares strings by their bytes, as the contract sorts paths.
func changed(files []*v1.WorkspaceFile, change *v1.FileChange) []*v1.WorkspaceFile {
	file := change.GetFile()
	switch change.GetKind() {
	case v1.FileChangeKind_FILE_CHANGE_KIND_DELETED:
		return without(files, file.GetPath())
	case v1.FileChangeKind_FILE_CHANGE_KIND_RENAMED:
		files = without(files, change.GetPreviousPath())
	}
	at, found := find(files, file.GetPath())
	if found {
		files[at] = file
		return files
	}
	return slices.Insert(files, at, file)
}

func without(files []*v1.WorkspaceFile, path string) []*v1.WorkspaceFile {
	if at, found := find(files, path); found {
		return slices.Delete(files, at, at+1)
	}
	return files
}

func find(files []*v1.WorkspaceFile, path string) (int, bool) {
	return slices.BinarySearchFunc(files, path, func(file *v1.WorkspaceFile, path string) int {
		return strings.Compare(file.GetPath(), path)
	})
}

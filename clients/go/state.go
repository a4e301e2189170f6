package agentruntime

import (
	"cmp"
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

// Apply folds one event in, and returns the block that it is about, or nil.
func (s *State) Apply(event *v1.SessionEvent) (block *v1.Block) {
	state := &s.value
	switch kind := event.GetKind().(type) {
	case *v1.SessionEvent_SessionCreated:
		proto.Reset(state)
		if state.Session = proto.CloneOf(kind.SessionCreated.GetSession()); state.Session != nil {
			state.Session.OldestSequence = 0
		}
	case *v1.SessionEvent_SnapshotStart:
		proto.Reset(state)
	case *v1.SessionEvent_SnapshotChunk:
		proto.Merge(state, kind.SnapshotChunk.GetState())
	}
	// What is told of a session that is not there goes nowhere.
	session := cmp.Or(state.Session, &v1.Session{})
	switch kind := event.GetKind().(type) {
	case *v1.SessionEvent_BlockStart:
		block = s.putBlock(kind.BlockStart.GetBlock())
	case *v1.SessionEvent_BlockComplete:
		block = s.putBlock(kind.BlockComplete.GetBlock())
	case *v1.SessionEvent_BlockDelta:
		if block = s.Block(kind.BlockDelta.GetBlockId()); block != nil {
			grow(block, kind.BlockDelta)
		}
	case *v1.SessionEvent_BlockUpdate:
		if block = s.Block(kind.BlockUpdate.GetBlockId()); block != nil {
			patch(block, kind.BlockUpdate)
		}
	case *v1.SessionEvent_TurnQueued:
		s.putTurn(kind.TurnQueued.GetTurn(), session)
	case *v1.SessionEvent_TurnUpdated:
		s.putTurn(kind.TurnUpdated.GetTurn(), session)
	case *v1.SessionEvent_ConversationUpdated:
		put(&state.Conversations, kind.ConversationUpdated.GetConversation(), (*v1.Conversation).GetConversationId)
		session.Usage = kind.ConversationUpdated.GetSessionUsage()
	case *v1.SessionEvent_SessionUpdated:
		to := kind.SessionUpdated
		session.Name, session.Labels, session.Metadata = to.GetName(), to.GetLabels(), to.GetMetadata()
		session.Options, session.Etag = to.GetOptions(), to.GetEtag()
	case *v1.SessionEvent_StatusChanged:
		session.Status, session.Error = kind.StatusChanged.GetStatus(), kind.StatusChanged.GetError()
	case *v1.SessionEvent_SandboxChanged:
		session.Sandbox = kind.SandboxChanged.GetSandbox()
	case *v1.SessionEvent_PermissionRequested:
		put(&state.Permissions, proto.CloneOf(kind.PermissionRequested.GetPermission()), (*v1.PermissionRequest).GetPermissionId)
	case *v1.SessionEvent_PermissionResolved:
		if at := last(state.Permissions, kind.PermissionResolved.GetPermissionId(), (*v1.PermissionRequest).GetPermissionId); at >= 0 {
			state.Permissions[at].Resolution = kind.PermissionResolved.GetResolution()
		}
	case *v1.SessionEvent_PermissionRulesChanged:
		state.PermissionRules = slices.Clone(kind.PermissionRulesChanged.GetRules())
	case *v1.SessionEvent_QuestionRequested:
		put(&state.Questions, proto.CloneOf(kind.QuestionRequested.GetQuestion()), (*v1.Question).GetQuestionId)
	case *v1.SessionEvent_QuestionResolved:
		if at := last(state.Questions, kind.QuestionResolved.GetQuestionId(), (*v1.Question).GetQuestionId); at >= 0 {
			state.Questions[at].Resolution = kind.QuestionResolved.GetResolution()
		}
	case *v1.SessionEvent_FilesChanged:
		for _, change := range kind.FilesChanged.GetChanges() {
			state.Files = changed(state.Files, change)
		}
	}
	if event.GetSequence() > 0 {
		session.Sequence = event.GetSequence()
		if event.GetBookmark() == nil {
			session.LastActivityTime = event.GetEventTime()
		}
	}
	return block
}

func (s *State) putBlock(block *v1.Block) *v1.Block {
	held := s.Block(block.GetBlockId())
	if held == nil {
		held = &v1.Block{}
		s.value.Blocks = append(s.value.Blocks, held)
	}
	// It stays the same one for those who hold it.
	proto.Reset(held)
	proto.Merge(held, block)
	return held
}

func (s *State) putTurn(turn *v1.Turn, session *v1.Session) {
	put(&s.value.Turns, turn, (*v1.Turn).GetTurnId)
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

// grows names the field that deltas make longer, by what the block is.
var grows = map[string]protoreflect.Name{"assistant_text": "text", "thinking": "text", "tool_use": "input_json", "tool_result": "text"}

// grow appends what the block does not hold yet. Offsets are bytes, as those of Go's strings are.
func grow(block *v1.Block, delta *v1.BlockDelta) {
	kind, content := contentOf(block)
	if grows[kind] == "" {
		return
	}
	field := content.Descriptor().Fields().ByName(grows[kind])
	if output := field.ContainingOneof(); output != nil && content.WhichOneof(output) != nil && !content.Has(field) {
		return
	}
	text := content.Get(field).String()
	known := int64(len(text)) - delta.GetOffset()
	if known >= 0 && known < int64(len(delta.GetDelta())) {
		content.Set(field, protoreflect.ValueOfString(text+delta.GetDelta()[known:]))
	}
}

// patch replaces the namesake of each set field, in the block or in its content.
func patch(block *v1.Block, update *v1.BlockUpdate) {
	_, content := contentOf(block)
	update.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		for _, target := range []protoreflect.Message{block.ProtoReflect(), content} {
			if target == nil || field.Name() == "block_id" {
				continue
			}
			if namesake := target.Descriptor().Fields().ByName(field.Name()); namesake != nil {
				target.Set(namesake, value)
			}
		}
		return true
	})
}

// contentOf is what a block is, as the contract spells it, and what it holds; nothing for a kind newer than this client.
func contentOf(block *v1.Block) (kind string, content protoreflect.Message) {
	message := block.ProtoReflect()
	if field := message.WhichOneof(message.Descriptor().Oneofs().ByName("content")); field != nil {
		return string(field.Name()), message.Mutable(field).Message()
	}
	return "", nil
}

// changed is the files after the change, still sorted. Go compares strings by their bytes, as the contract sorts paths.
func changed(files []*v1.WorkspaceFile, change *v1.FileChange) []*v1.WorkspaceFile {
	place := func(path string) (int, bool) {
		return slices.BinarySearchFunc(files, path, func(file *v1.WorkspaceFile, path string) int {
			return strings.Compare(file.GetPath(), path)
		})
	}
	gone := []string{change.GetFile().GetPath()}
	if change.GetKind() == v1.FileChangeKind_FILE_CHANGE_KIND_RENAMED {
		gone = append(gone, change.GetPreviousPath())
	}
	for _, path := range gone {
		if at, found := place(path); found {
			files = slices.Delete(files, at, at+1)
		}
	}
	if change.GetKind() == v1.FileChangeKind_FILE_CHANGE_KIND_DELETED {
		return files
	}
	at, _ := place(change.GetFile().GetPath())
	return slices.Insert(files, at, change.GetFile())
}

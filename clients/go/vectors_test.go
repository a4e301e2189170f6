package agentruntime

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

func TestVectors(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../tests/vectors/*.json")
	if err != nil || len(files) < 15 {
		t.Fatalf("only %d vectors were found (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			var vector struct {
				Description string
				Events      []json.RawMessage
				State       json.RawMessage
			}
			text, err := os.ReadFile(file)
			must(t, err)
			must(t, json.Unmarshal(text, &vector))
			var expected v1.SessionState
			must(t, protojson.Unmarshal(vector.State, &expected))
			var state State
			events := make([]v1.SessionEvent, len(vector.Events))
			for i, raw := range vector.Events {
				must(t, protojson.Unmarshal(raw, &events[i]))
				state.Apply(&events[i])
			}
			for i, raw := range vector.Events {
				var before v1.SessionEvent
				must(t, protojson.Unmarshal(raw, &before))
				if !proto.Equal(&events[i], &before) {
					t.Errorf("folding changed the event %v", &before)
				}
			}
			if !proto.Equal(state.Proto(), &expected) {
				t.Errorf("%s\nfolded:   %v\nexpected: %v", vector.Description, state.Proto(), &expected)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

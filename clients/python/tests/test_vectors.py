"""The shared vectors: events, and the state they fold to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf.json_format import ParseDict

from agentruntime import pb
from agentruntime.state import State

VECTORS = sorted((Path(__file__).parents[3] / "tests" / "vectors").glob("*.json"))


def test_there_are_vectors() -> None:
    assert len(VECTORS) >= 15


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_events_fold_to_the_state(path: Path) -> None:
    vector = json.loads(path.read_text(encoding="utf-8"))
    state = State()
    events = [ParseDict(event, pb.SessionEvent()) for event in vector["events"]]
    for event in events:
        state.apply(event)
    assert events == [ParseDict(event, pb.SessionEvent()) for event in vector["events"]], "folding changed an event"
    expected = ParseDict(vector["state"], pb.SessionState())
    assert state.value == expected, vector["description"]

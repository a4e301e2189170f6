"""The fold: a session's state out of its events, by the "Fold:" lines of the contract."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import MutableSequence
from typing import Any, Protocol

from . import pb

# Messages are told apart by their descriptors here, which no static type can follow.
Message = Any

# What an event brings whole: it goes into the list of its kind, by its id.
_PUTS = {
    "block_start": "block",
    "block_complete": "block",
    "turn_queued": "turn",
    "turn_updated": "turn",
    "conversation_updated": "conversation",
    "permission_requested": "permission",
    "question_requested": "question",
}
# What an event says of the session: each of its fields becomes that of the event, unset too.
_TOTALS = {
    "conversation_updated": {"usage": "session_usage"},
    "session_updated": {name: name for name in ("name", "labels", "metadata", "options", "etag")},
    "status_changed": {"status": "status", "error": "error"},
    "sandbox_changed": {"sandbox": "sandbox"},
}
_RESOLVES = {"permission_resolved": "permission", "question_resolved": "question"}
# The field that deltas make longer, by what the block is.
_GROWS = {"assistant_text": "text", "thinking": "text", "tool_use": "input_json", "tool_result": "text"}
_ACTIVE = (pb.TURN_STATUS_RUNNING, pb.TURN_STATUS_AWAITING_INPUT, pb.TURN_STATUS_PARKED)


class State:
    """What there is to show of a session."""

    def __init__(self) -> None:
        self.value = pb.SessionState()
        # UTF-8 bytes that growing blocks hold; text is counted once, not at every delta.
        self._held: dict[str, int] = {}

    def block(self, block_id: str) -> pb.Block | None:
        """The block of that id; it is patched in place as events are applied."""
        return _find(self.value.blocks, "block_id", block_id)

    def apply(self, event: pb.SessionEvent) -> pb.Block | None:
        """Folds one event in, and returns the block that it is about."""
        state, kind = self.value, event.WhichOneof("kind") or ""
        change: Message = getattr(event, kind, None)
        if kind in ("session_created", "snapshot_start"):
            state.Clear()
            self._held.clear()
        if kind == "session_created":
            state.session.CopyFrom(change.session)
            state.session.ClearField("oldest_sequence")
        elif kind == "snapshot_chunk":
            state.MergeFrom(change.state)
        elif kind == "permission_rules_changed":
            _set(state, "permission_rules", change, "rules")
        elif kind == "files_changed":
            for file_change in change.changes:
                _change(state.files, file_change)
        elif kind in _PUTS:
            thing = _PUTS[kind]
            _put(getattr(state, f"{thing}s"), f"{thing}_id", getattr(change, thing))
        elif kind in _RESOLVES:
            thing = _RESOLVES[kind]
            asked = _find(getattr(state, f"{thing}s"), f"{thing}_id", getattr(change, f"{thing}_id"))
            if asked is not None:
                _set(asked, "resolution", change, "resolution")
        if state.HasField("session"):
            for name, source in _TOTALS.get(kind, {}).items():
                _set(state.session, name, change, source)
            if kind in ("turn_queued", "turn_updated"):
                _follow_turns(state)
            if event.sequence > 0:
                state.session.sequence = event.sequence
            if event.sequence > 0 and kind != "bookmark":
                _set(state.session, "last_activity_time", event, "event_time")
        return self._changed(kind, change)

    def _changed(self, kind: str, change: Message) -> pb.Block | None:
        """The block that an event is about, changed as it says."""
        if not kind.startswith("block_"):
            return None
        block_id: str = change.block.block_id if kind in _PUTS else change.block_id
        block = self.block(block_id)
        if block is not None and kind == "block_delta":
            self._grow(block, change)
        else:
            self._held.pop(block_id, None)
        if block is not None and kind == "block_update":
            _patch(block, change)
        return block

    def _grow(self, block: pb.Block, delta: pb.BlockDelta) -> None:
        content = block.WhichOneof("content") or ""
        if content not in _GROWS:
            return
        grows: Message = getattr(block, content)
        if content == "tool_result" and grows.WhichOneof("output") not in (None, "text"):
            return
        text: str = getattr(grows, _GROWS[content])
        held = self._held.get(block.block_id)
        if held is None:
            held = len(text.encode())
        fresh = delta.delta.encode()
        if delta.offset <= held < delta.offset + len(fresh):
            # Both ends are whole characters, so the cut is one.
            setattr(grows, _GROWS[content], text + fresh[held - delta.offset :].decode())
            self._held[block.block_id] = delta.offset + len(fresh)


def _follow_turns(state: pb.SessionState) -> None:
    session = state.session
    session.ClearField("active_turn")
    session.ClearField("queued_turns")
    for turn in state.turns:
        if turn.status in _ACTIVE:
            session.active_turn.CopyFrom(turn)
    queued = [turn for turn in state.turns if turn.status == pb.TURN_STATUS_QUEUED]
    # The newest of those that go first goes before the others.
    session.queued_turns.extend(turn for turn in reversed(queued) if turn.goes_first)
    session.queued_turns.extend(turn for turn in queued if not turn.goes_first)


def _patch(block: pb.Block, update: pb.BlockUpdate) -> None:
    """Replaces the namesake of each set field, in the block or in its content."""
    content = block.WhichOneof("content")
    for field, _ in update.ListFields():
        for target in (block, getattr(block, content) if content else None):
            if field.name != "block_id" and target is not None and field.name in target.DESCRIPTOR.fields_by_name:
                _set(target, field.name, update, field.name)


class _List(Protocol):
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Message: ...
    def add(self) -> Message: ...


def _find(items: _List, key: str, value: str) -> Message | None:
    # What changes is nearly always among the newest.
    return next((items[i] for i in range(len(items) - 1, -1, -1) if getattr(items[i], key) == value), None)


def _put(items: _List, key: str, item: Message) -> None:
    """`items[id] = item`: replaces, or adds at the end."""
    held = _find(items, key, getattr(item, key))
    (items.add() if held is None else held).CopyFrom(item)


def _set(target: Message, name: str, source: Message, source_name: str) -> None:
    """`target.name = source.source_name`, whatever the field is, unset too."""
    target.ClearField(name)
    for field, value in source.ListFields():
        if field.name == source_name:
            target.MergeFrom(type(target)(**{name: value}))


def _change(files: MutableSequence[pb.WorkspaceFile], change: pb.FileChange) -> None:
    def place(path: str) -> int:
        return bisect_left(files, path.encode(), key=lambda file: file.path.encode())

    renamed = change.kind == pb.FILE_CHANGE_KIND_RENAMED
    for path in (change.previous_path, change.file.path) if renamed else (change.file.path,):
        at = place(path)
        if at < len(files) and files[at].path == path:
            del files[at]
    if change.kind != pb.FILE_CHANGE_KIND_DELETED:
        files.insert(place(change.file.path), change.file)

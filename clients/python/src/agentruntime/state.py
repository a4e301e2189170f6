"""The fold: a session's state out of its events, by the "Fold:" lines of the contract."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import MutableSequence
from typing import Any, Protocol

from .v1.block_pb2 import Block
from .v1.event_pb2 import BlockDelta, BlockUpdate, SessionEvent
from .v1.session_pb2 import Session, TurnStatus
from .v1.state_pb2 import SessionState
from .v1.workspace_pb2 import FileChange, FileChangeKind, WorkspaceFile

_ACTIVE = (TurnStatus.TURN_STATUS_RUNNING, TurnStatus.TURN_STATUS_AWAITING_INPUT, TurnStatus.TURN_STATUS_PARKED)
_GROWS = {"assistant_text": "text", "thinking": "text", "tool_use": "input_json", "tool_result": "text"}


class State:
    """What there is to show of a session."""

    def __init__(self) -> None:
        self.value = SessionState()
        # UTF-8 bytes that growing blocks hold; text is counted once, not at every delta.
        self._held: dict[str, int] = {}

    def block(self, block_id: str) -> Block | None:
        """The block of that id; it is patched in place as events are applied."""
        return _find(self.value.blocks, "block_id", block_id)

    def apply(self, event: SessionEvent) -> None:
        """Folds one event in."""
        kind = event.WhichOneof("kind")
        state = self.value
        if kind in ("block_start", "block_complete"):
            block = event.block_start.block if kind == "block_start" else event.block_complete.block
            self._held.pop(block.block_id, None)
            _put(state.blocks, "block_id", block)
        elif kind == "block_delta":
            self._grow(event.block_delta)
        elif kind == "block_update":
            self._patch(event.block_update)
        elif kind in ("turn_queued", "turn_updated"):
            _put(state.turns, "turn_id", event.turn_queued.turn if kind == "turn_queued" else event.turn_updated.turn)
            self._follow_turns()
        elif kind == "conversation_updated":
            _put(state.conversations, "conversation_id", event.conversation_updated.conversation)
            self._session(event.conversation_updated, usage="session_usage")
        elif kind == "session_created":
            self._forget()
            state.session.CopyFrom(event.session_created.session)
            state.session.ClearField("oldest_sequence")
        elif kind == "session_updated":
            caller = ("name", "labels", "metadata", "options", "etag")
            self._session(event.session_updated, **{name: name for name in caller})
        elif kind == "status_changed":
            self._session(event.status_changed, status="status", error="error")
        elif kind == "sandbox_changed":
            self._session(event.sandbox_changed, sandbox="sandbox")
        elif kind == "permission_requested":
            _put(state.permissions, "permission_id", event.permission_requested.permission)
        elif kind == "permission_resolved":
            asked = _find(state.permissions, "permission_id", event.permission_resolved.permission_id)
            if asked is not None:
                _set(asked, "resolution", event.permission_resolved, "resolution")
        elif kind == "permission_rules_changed":
            _set(state, "permission_rules", event.permission_rules_changed, "rules")
        elif kind == "question_requested":
            _put(state.questions, "question_id", event.question_requested.question)
        elif kind == "question_resolved":
            question = _find(state.questions, "question_id", event.question_resolved.question_id)
            if question is not None:
                _set(question, "resolution", event.question_resolved, "resolution")
        elif kind == "files_changed":
            for change in event.files_changed.changes:
                _change(state.files, change)
        elif kind == "snapshot_start":
            self._forget()
        elif kind == "snapshot_chunk":
            state.MergeFrom(event.snapshot_chunk.state)
        if event.sequence > 0 and state.HasField("session"):
            state.session.sequence = event.sequence
            if kind != "bookmark":
                _set(state.session, "last_activity_time", event, "event_time")

    def _forget(self) -> None:
        self.value.Clear()
        self._held.clear()

    def _session(self, source: Message, **fields: str) -> None:
        """Each field of the session becomes its source's, unset too."""
        if self.value.HasField("session"):
            for name, source_name in fields.items():
                _set(self.value.session, name, source, source_name)

    def _follow_turns(self) -> None:
        state = self.value
        if not state.HasField("session"):
            return
        session: Session = state.session
        session.ClearField("active_turn")
        session.ClearField("queued_turns")
        for turn in state.turns:
            if turn.status in _ACTIVE:
                session.active_turn.CopyFrom(turn)
        queued = [turn for turn in state.turns if turn.status == TurnStatus.TURN_STATUS_QUEUED]
        # The newest of those that go first goes before the others.
        session.queued_turns.extend(turn for turn in reversed(queued) if turn.goes_first)
        session.queued_turns.extend(turn for turn in queued if not turn.goes_first)

    def _grow(self, delta: BlockDelta) -> None:
        block = self.block(delta.block_id)
        content = block and block.WhichOneof("content")
        if block is None or content not in _GROWS:
            return
        grows: Any = getattr(block, content)
        name = _GROWS[content]
        if content == "tool_result" and grows.WhichOneof("output") not in (None, "text"):
            return
        text: str = getattr(grows, name)
        held = self._held.get(block.block_id)
        if held is None:
            held = len(text.encode())
        fresh = delta.delta.encode()
        if delta.offset > held or delta.offset + len(fresh) <= held:
            return
        # Both ends are whole characters, so the cut is one.
        setattr(grows, name, text + fresh[held - delta.offset :].decode())
        self._held[block.block_id] = delta.offset + len(fresh)

    def _patch(self, update: BlockUpdate) -> None:
        block = self.block(update.block_id)
        if block is None:
            return
        self._held.pop(update.block_id, None)
        content = block.WhichOneof("content")
        for field, _ in update.ListFields():
            for target in (block, getattr(block, content) if content else None):
                if field.name != "block_id" and target is not None and field.name in target.DESCRIPTOR.fields_by_name:
                    _set(target, field.name, update, field.name)


# Messages are told apart by their descriptors here, which no static type can follow.
Message = Any


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
    field = target.DESCRIPTOR.fields_by_name[name]
    value = getattr(source, source_name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        getattr(target, name).update(value)
    elif _is_list(field):
        getattr(target, name).extend(value)
    elif field.message_type is None:
        setattr(target, name, value)
    elif source.HasField(source_name):
        getattr(target, name).CopyFrom(value)


def _is_list(field: Any) -> bool:
    # The older name goes away with newer releases of protobuf.
    repeated = getattr(field, "is_repeated", None)
    return bool(field.label == field.LABEL_REPEATED if repeated is None else repeated)


def _change(files: MutableSequence[WorkspaceFile], change: FileChange) -> None:
    kind, file = change.kind, change.file
    if kind == FileChangeKind.FILE_CHANGE_KIND_DELETED:
        _remove(files, file.path)
        return
    if kind == FileChangeKind.FILE_CHANGE_KIND_RENAMED:
        _remove(files, change.previous_path)
    at = _place(files, file.path)
    if at < len(files) and files[at].path == file.path:
        files[at].CopyFrom(file)
    else:
        files.insert(at, file)


def _remove(files: MutableSequence[WorkspaceFile], path: str) -> None:
    at = _place(files, path)
    if at < len(files) and files[at].path == path:
        del files[at]


def _place(files: MutableSequence[WorkspaceFile], path: str) -> int:
    return bisect_left(files, path.encode(), key=lambda file: file.path.encode())

"""What makes calls and streams go on, without any I/O: cursors, ranges, request ids and pauses."""

from __future__ import annotations

import math
import random
import time
import uuid
from collections.abc import Iterator
from copy import deepcopy
from typing import Generic, TypeVar

import grpc
from google.protobuf.message import Message

from . import pb
from .errors import Error

ATTEMPTS = 6
"""How often a call is made before its caller is told that it failed: two to three seconds of pauses."""

_BOOKMARK_INTERVAL = 15.0
# Who holds a stream for so long is not one that cuts each as soon as it is open.
_STEADY = 10.0

M = TypeVar("M", bound=Message)
A = TypeVar("A")
T = TypeVar("T")


def named(request: M) -> M:
    """The request with an id, its own or a new one, if it changes something."""
    if "request_id" not in request.DESCRIPTOR.fields_by_name or getattr(request, "request_id"):  # noqa: B009
        return request
    request = deepcopy(request)
    setattr(request, "request_id", uuid.uuid4().hex)  # noqa: B010
    return request


class Backoff:
    """Waits that double from 0.1 s to 10 s, with jitter, so that clients do not come back as one."""

    def __init__(self) -> None:
        self._failures = 0

    def next(self, retry_after: float | None = None) -> float:
        """Between half and all of the doubled time, and never less than the server asked for."""
        ceiling = min(0.1 * 2 ** min(self._failures, 10), 10.0)
        self._failures += 1
        jittered: float = ceiling * random.uniform(0.5, 1.0)
        return jittered if retry_after is None else retry_after + min(jittered, retry_after)


class Deadline:
    """When the caller has waited long enough."""

    def __init__(self, timeout: float | None) -> None:
        self._at = math.inf if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        """Seconds until then; `None`: never."""
        return None if self._at == math.inf else max(self._at - time.monotonic(), 0.001)

    def allows(self, pause: float) -> bool:
        """Whether it is still ahead after a pause."""
        return time.monotonic() + pause < self._at


class Resume(Generic[A, T]):
    """A stream that goes on where it was cut: what to ask for, what to give out, and how long to wait in between."""

    call = ""
    """What to ask for it by, of the contract's session service."""

    def __init__(self) -> None:
        self._backoff = Backoff()
        self._moved = self.done = False
        self.silence = 3 * _BOOKMARK_INTERVAL
        """Seconds of silence after which the stream is dead."""

    def request(self) -> Message:
        """What to ask for now."""
        raise NotImplementedError

    def take(self, response: A) -> Iterator[T]:
        """What a response brings. The cursor moves as it is taken."""
        raise NotImplementedError

    def asks_otherwise(self, refused: Error) -> bool:
        """Whether what the server refuses can be asked for in another way, which is done from now on."""
        return False

    def pause(self, error: Error | None, lived: float) -> float:
        """Seconds to wait before asking again; raises what asking again cannot help. `None`: the stream just ended.

        They begin anew after a stream that lived for a while or moved the cursor: that it was opened is not enough.
        """
        if self._moved or lived >= _STEADY:
            self._backoff, self._moved = Backoff(), False
        if error is None:
            return self._backoff.next()
        if not self.asks_otherwise(error) and not error.is_transient:
            raise error
        return self._backoff.next(error.retry_after)


class Events(Resume[pb.WatchSessionResponse | pb.RunTurnResponse, pb.SessionEvent]):
    """Events of a session, up to the last."""

    def __init__(self, request: pb.WatchSessionRequest | pb.RunTurnRequest) -> None:
        super().__init__()
        # Its after_sequence is the cursor.
        self._request = deepcopy(named(request))

    def request(self) -> Message:
        return self._request

    def take(self, response: pb.WatchSessionResponse | pb.RunTurnResponse) -> Iterator[pb.SessionEvent]:
        for event in response.events:
            self._move(event)
            if self._is_wanted(event):
                self.done = self._is_last(event)
                yield event
            if self.done:
                return

    def _is_wanted(self, event: pb.SessionEvent) -> bool:
        return True

    def _is_last(self, event: pb.SessionEvent) -> bool:
        raise NotImplementedError

    def _move(self, event: pb.SessionEvent) -> None:
        """Moves the cursor over the event, by the one rule of ranges."""
        kind = event.WhichOneof("kind")
        if kind == "snapshot_start":
            self._request.ClearField("after_sequence")
        elif kind == "snapshot_complete":
            self._request.after_sequence, self._moved = event.sequence, True
        elif kind != "snapshot_chunk":
            cursor = self._request.after_sequence if self._request.HasField("after_sequence") else None
            first, empty = event.first_sequence or event.sequence, int(kind == "bookmark")
            if cursor is None or first != cursor + 1 or event.sequence < first - empty:
                told = f"{first} to {event.sequence} came after {cursor}"
                raise Error(grpc.StatusCode.DATA_LOSS, f"the server broke the range rule: {told}")
            self._moved |= event.sequence > (cursor or 0)
            self._request.after_sequence = event.sequence


class Watch(Events):
    """The events of a session, up to its deletion."""

    call = "WatchSession"
    _request: pb.WatchSessionRequest

    def __init__(self, request: pb.WatchSessionRequest) -> None:
        super().__init__(request)
        if request.HasField("bookmark_interval"):
            self.silence = 3 * request.bookmark_interval.ToTimedelta().total_seconds()

    def request(self) -> Message:
        if not self._request.HasField("after_sequence"):
            self._request.expected_uid = ""
        return self._request

    def take(self, response: pb.WatchSessionResponse | pb.RunTurnResponse) -> Iterator[pb.SessionEvent]:
        if isinstance(response, pb.WatchSessionResponse) and response.uid:
            self._request.expected_uid = response.uid
        return super().take(response)

    def asks_otherwise(self, refused: Error) -> bool:
        lost = refused.reason in ("SEQUENCE_TRUNCATED", "SESSION_REPLACED")
        if lost:
            self._request.ClearField("after_sequence")
        return lost

    def _is_last(self, event: pb.SessionEvent) -> bool:
        return event.status_changed.status == pb.SESSION_STATUS_DELETED


class Turn(Events):
    """The events of a turn, up to its end.

    The id of its request is what makes the second call go on with the first. The server knows it for a day, and a turn
    may wait for an answer for longer: then its rest is taken out of the events of its session.
    """

    call = "RunTurn"
    _request: pb.RunTurnRequest

    def __init__(self, request: pb.RunTurnRequest) -> None:
        super().__init__(request)
        self._turn_id = ""
        # What follows of a block does not name its turn: these are the others' blocks.
        self._others: set[str] = set()

    def request(self) -> Message:
        asked = self._request
        if self.call == Turn.call:
            return asked
        return pb.WatchSessionRequest(
            session_id=asked.session_id, after_sequence=asked.after_sequence, omit_deltas=asked.omit_deltas
        )

    def take(self, response: pb.WatchSessionResponse | pb.RunTurnResponse) -> Iterator[pb.SessionEvent]:
        if isinstance(response, pb.RunTurnResponse) and response.HasField("turn"):
            self._turn_id = response.turn.turn_id
            if not self._request.HasField("after_sequence"):
                self._request.after_sequence = response.sequence
        return super().take(response)

    def asks_otherwise(self, refused: Error) -> bool:
        forgotten = refused.reason == "INVALID_FIELD" and any(
            bad.field == "after_sequence" for bad in refused.field_violations
        )
        if not forgotten or not self._turn_id or self.call == Watch.call:
            return False
        self.call = Watch.call
        return True

    def _is_wanted(self, event: pb.SessionEvent) -> bool:
        if self.call == Turn.call:
            # What is of other turns was left out.
            return True
        started, completed = event.block_start.block, event.block_complete.block
        turn_id = (
            (started.turn_id or completed.turn_id)
            or (event.turn_queued.turn.turn_id or event.turn_updated.turn.turn_id)
            or (event.permission_requested.permission.turn_id or event.question_requested.question.turn_id)
        )
        if turn_id:
            if turn_id != self._turn_id:
                self._others.add(started.block_id or completed.block_id)
            return turn_id == self._turn_id
        block_id = event.block_delta.block_id or event.block_update.block_id
        return not block_id or block_id not in self._others

    def _is_last(self, event: pb.SessionEvent) -> bool:
        turn = event.turn_updated.turn
        return turn.HasField("end_time") and turn.turn_id == self._turn_id


class Listing(Resume[pb.WatchSessionsResponse, pb.WatchSessionsResponse]):
    """Changes of the list of sessions. Where the list comes anew, what is gone from it is told as REMOVED."""

    call = "WatchSessions"

    def __init__(self, request: pb.WatchSessionsRequest) -> None:
        super().__init__()
        # Its after_revision is the cursor; unset while the list comes.
        self._request = deepcopy(request)
        # What a caller has who gave a revision, only the caller knows.
        self._may_begin_anew = not request.HasField("after_revision")
        # The uid of each session that was told, by its id, and of those that the list that comes has not named yet.
        self._known: dict[str, str] = {}
        self._gone: dict[str, str] = {}

    def request(self) -> pb.WatchSessionsRequest:
        if not self._request.HasField("after_revision"):
            self._gone = dict(self._known)
        return self._request

    def take(self, response: pb.WatchSessionsResponse) -> Iterator[pb.WatchSessionsResponse]:
        for change in response.changes:
            self._gone.pop(change.session.session_id, None)
            self._known[change.session.session_id] = change.session.uid
            if change.kind == pb.SESSION_CHANGE_KIND_REMOVED:
                del self._known[change.session.session_id]
        if response.synced:
            for session_id, uid in self._gone.items():
                del self._known[session_id]
                gone = pb.Session(session_id=session_id, uid=uid)
                response.changes.add(kind=pb.SESSION_CHANGE_KIND_REMOVED, session=gone)
            self._gone = {}
        if response.synced or response.revision > 0:
            self._moved |= response.revision > self._request.after_revision
            self._request.after_revision = response.revision
        yield response

    def asks_otherwise(self, refused: Error) -> bool:
        lost = self._may_begin_anew and refused.reason in ("SEQUENCE_TRUNCATED", "SEQUENCE_AHEAD")
        if lost:
            self._request.ClearField("after_revision")
        return lost

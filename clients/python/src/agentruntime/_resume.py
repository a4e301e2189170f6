"""What makes calls and streams go on, without any I/O: cursors, ranges, request ids and pauses."""

from __future__ import annotations

import math
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Generic, TypedDict, TypeVar

import grpc
from google.protobuf.message import Message

from .errors import Error
from .v1.block_pb2 import ContentPart
from .v1.event_pb2 import SessionEvent
from .v1.session_pb2 import SessionStatus, Turn
from .v1.session_service_pb2 import (
    BusyPolicy,
    RunTurnRequest,
    RunTurnResponse,
    SessionChangeKind,
    WatchSessionRequest,
    WatchSessionResponse,
    WatchSessionsRequest,
    WatchSessionsResponse,
)

ATTEMPTS = 6
"""How often a call is made before its caller is told that it failed: two to three seconds of pauses."""

_BOOKMARK_INTERVAL = 15.0

M = TypeVar("M", bound=Message)
A = TypeVar("A")
T = TypeVar("T")


class TurnOptions(TypedDict, total=False):
    """What a turn may be told beside its text."""

    parts: Sequence[ContentPart]
    """More of the message: images, documents."""
    busy_policy: BusyPolicy.ValueType
    omit_deltas: bool
    """Blocks come whole."""
    request_id: str


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

    def __init__(self) -> None:
        self._backoff = Backoff()
        self.done = False
        self.silence = 3 * _BOOKMARK_INTERVAL
        """Seconds of silence after which the stream is dead."""

    def request(self) -> Message:
        """What to ask for now."""
        raise NotImplementedError

    def take(self, response: A) -> Iterator[T]:
        """What a response brings. The cursor moves as it is taken."""
        raise NotImplementedError

    def starts_over(self, error: Error) -> bool:
        """Whether everything is asked for from now on, because what was asked for is not to be had."""
        raise NotImplementedError

    def pause(self, error: Error | None, came: bool) -> float:
        """Seconds to wait before asking again; raises what asking again cannot help. `None`: the stream just ended."""
        if came:
            self._backoff = Backoff()
        if error is None:
            return self._backoff.next()
        if not self.starts_over(error) and not error.is_transient:
            raise error
        return self._backoff.next(error.retry_after)


class Events(Resume[WatchSessionResponse | RunTurnResponse, SessionEvent]):
    """The events of a session, or of a turn."""

    def __init__(self, request: WatchSessionRequest | RunTurnRequest) -> None:
        super().__init__()
        # Of a turn, the request id is what makes the second call go on with the first.
        self._request = named(request)
        self._cursor = request.after_sequence if request.HasField("after_sequence") else None
        self._uid = request.expected_uid if isinstance(request, WatchSessionRequest) else ""
        self.turn: Turn | None = None
        if isinstance(request, WatchSessionRequest) and request.HasField("bookmark_interval"):
            self.silence = 3 * request.bookmark_interval.ToTimedelta().total_seconds()

    def request(self) -> WatchSessionRequest | RunTurnRequest:
        request = deepcopy(self._request)
        request.ClearField("after_sequence")
        if self._cursor is not None:
            request.after_sequence = self._cursor
        if isinstance(request, WatchSessionRequest):
            request.expected_uid = self._uid if self._cursor is not None else ""
        return request

    def take(self, response: WatchSessionResponse | RunTurnResponse) -> Iterator[SessionEvent]:
        if isinstance(response, WatchSessionResponse):
            self._uid = response.uid or self._uid
        elif response.HasField("turn"):
            self.turn = response.turn
            if self._cursor is None:
                self._cursor = response.sequence
        for event in response.events:
            self._move(event)
            yield event
            if self.done:
                return

    def starts_over(self, error: Error) -> bool:
        over = error.wants_snapshot and isinstance(self._request, WatchSessionRequest)
        if over:
            self._cursor = None
        return over

    def _move(self, event: SessionEvent) -> None:
        kind = event.WhichOneof("kind")
        if kind == "snapshot_start":
            self._cursor = None
        elif kind == "snapshot_complete":
            self._cursor = event.sequence
        elif kind != "snapshot_chunk":
            first, empty = event.first_sequence or event.sequence, int(kind == "bookmark")
            if self._cursor is None or first != self._cursor + 1 or event.sequence < first - empty:
                told = f"{first} to {event.sequence} came after {self._cursor}"
                raise Error(grpc.StatusCode.DATA_LOSS, f"the server broke the range rule: {told}")
            self._cursor = event.sequence
            self.done = self._is_last(event)

    def _is_last(self, event: SessionEvent) -> bool:
        if isinstance(self._request, WatchSessionRequest):
            return event.status_changed.status == SessionStatus.SESSION_STATUS_DELETED
        turn = event.turn_updated.turn
        if self.turn is None or turn.turn_id != self.turn.turn_id:
            return False
        self.turn = turn
        return turn.HasField("end_time")


class Listing(Resume[WatchSessionsResponse, WatchSessionsResponse]):
    """Changes of the list of sessions. Where the list comes anew, what is gone from it is told as REMOVED."""

    def __init__(self, request: WatchSessionsRequest) -> None:
        super().__init__()
        self._request = request
        self._revision = request.after_revision if request.HasField("after_revision") else None
        # The uid of each session that was told, by its id, and of those that the list that comes has not named yet.
        self._known: dict[str, str] = {}
        self._gone: dict[str, str] = {}

    def request(self) -> WatchSessionsRequest:
        request = deepcopy(self._request)
        if self._revision is None:
            self._gone = dict(self._known)
        else:
            request.after_revision = self._revision
        return request

    def take(self, response: WatchSessionsResponse) -> Iterator[WatchSessionsResponse]:
        for change in response.changes:
            self._gone.pop(change.session.session_id, None)
            if change.kind == SessionChangeKind.SESSION_CHANGE_KIND_REMOVED:
                self._known.pop(change.session.session_id, None)
            else:
                self._known[change.session.session_id] = change.session.uid
        if response.synced:
            for session_id, uid in self._gone.items():
                del self._known[session_id]
                gone = response.changes.add(kind=SessionChangeKind.SESSION_CHANGE_KIND_REMOVED)
                gone.session.session_id, gone.session.uid = session_id, uid
            self._gone = {}
        if response.synced or response.revision > 0:
            self._revision = response.revision
        yield response

    def starts_over(self, error: Error) -> bool:
        # What a caller has who gave a revision, only the caller knows.
        own = self._request.HasField("after_revision")
        over = not own and error.reason in ("SEQUENCE_TRUNCATED", "SEQUENCE_AHEAD")
        if over:
            self._revision = None
        return over

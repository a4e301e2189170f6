"""The client for threads. Made of `aio` by `tools/unasync.py`: change that one.

Calls are made again while what went wrong may pass, under one request id. Streams of events resume by themselves.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Callable, Iterable
from functools import partial, wraps
from itertools import count
from os import PathLike
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import grpc
from google.protobuf.message import Message

from . import pb
from ._sync import Cancelled, Channel, Frames, channel, settled, wait
from ._line import Line
from ._resume import ATTEMPTS, Backoff, Deadline, Listing, Resume, Turn, Watch, named
from ._words import words
from .errors import Error
from .state import State
from .v1.profile_service_pb2_grpc import ProfileServiceStub
from .v1.runtime_service_pb2_grpc import RuntimeServiceStub
from .v1.session_service_pb2_grpc import SessionServiceStub
from .v1.workspace_service_pb2_grpc import WorkspaceServiceStub

__all__ = ["Client", "Stream", "connect"]

P = ParamSpec("P")
Q = TypeVar("Q", bound=Message)
M = TypeVar("M", bound=Message)
A = TypeVar("A")
S = TypeVar("S")
T = TypeVar("T")

# No response is larger than 4 MiB; the rest is for what wraps it. A connection that was lost is tried again soon: how
# long to wait is decided here and not below. What gRPC calls the least of its pauses is how long connecting may take.
_OPTIONS = (
    ("grpc.max_receive_message_length", 5 << 20),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 10_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),
)
# The most that one request carries.
_PIECE = 1 << 20


def connect(addr: str, *, key: str = "", ca: bytes | None = None) -> Client:
    """A client of the server at `HOST:PORT`, with the key that goes after "Bearer ".

    The connection is made when it is needed, and over TLS with `ca`, the certificates to trust in PEM, or `https://`.
    """
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        message = "the key has a line break or is not ASCII, so no header can carry it"
        raise Error(grpc.StatusCode.INVALID_ARGUMENT, message)
    tls = ca is not None or addr.startswith("https://")
    address = addr.removeprefix("https://").removeprefix("http://").rstrip("/")
    credentials = grpc.ssl_channel_credentials(ca) if tls else None
    return Client(channel(address, credentials, _OPTIONS), key)


class Calls:
    """What the stubs take for a channel: calls over it carry the key, are made again, and fail with an `Error`."""

    def __init__(self, channel: Channel, key: str, timeout: float | None, line: Line) -> None:
        self.timeout, self.line = timeout, line
        self._channel: Any = channel
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()

    def unary_unary(self, path: str, **how: Any) -> Callable[..., Any]:
        """A call with one request; if it changes something, it has one id over all attempts."""
        method = partial(self._channel.unary_unary(path, **how), metadata=self._metadata)

        def call(request: Message) -> Any:
            request = named(request)
            return self.again(lambda left: method(request, timeout=left))

        return call

    def unary_stream(self, path: str, **how: Any) -> Callable[..., Frames[Any]]:
        """A call with many responses."""
        method = partial(self._channel.unary_stream(path, **how), metadata=self._metadata)

        def call(
            request: Message, *, timeout: float | None = self.timeout, silence: float | None = None
        ) -> Frames[Any]:
            self.line.check()
            return Frames(method(request, timeout=timeout), silence)

        return call

    def stream_unary(self, path: str, **how: Any) -> Callable[..., Any]:
        """A call with many requests, which only its caller can repeat."""
        return partial(self._channel.stream_unary(path, **how), metadata=self._metadata)

    def again(self, attempt: Callable[[float | None], A], deadline: Deadline | None = None) -> A:
        """Makes a call, again while what went wrong may pass and there is time."""
        backoff, deadline = Backoff(), deadline or Deadline(self.timeout)
        for made in count(1):
            self.line.check()
            try:
                return settled(attempt(deadline.left()))
            except Exception as failed:
                # What a closed connection makes of a call is of many kinds.
                self.line.check()
                if not isinstance(failed, (grpc.RpcError, Error)):
                    raise
                error = failed if isinstance(failed, Error) else Error.of(failed)
            pause = backoff.next(error.retry_after)
            if made == ATTEMPTS or not error.is_transient or not deadline.allows(pause):
                break
            wait(self.line, pause)
        raise error


def _call(method: Callable[[Q], A], request: Callable[P, Q]) -> Callable[P, A]:
    """The call, with the fields of its request instead of the request."""

    def call(*args: P.args, **fields: P.kwargs) -> A:
        return method(request(*args, **fields))

    return call


def _list(
    method: Callable[[Q], A], request: Callable[P, Q], item: type[M]
) -> Callable[P, Generator[M, None, None]]:
    """All items of a list, page by page."""

    def call(*args: P.args, **fields: P.kwargs) -> Generator[M, None, None]:
        asked: Any = request(*args, **fields)
        while True:
            page: Any = method(asked)
            for items in [items for field, items in page.ListFields() if field.message_type == item.DESCRIPTOR]:
                for one in items:
                    yield one
            if not page.next_page_token:
                return
            asked.page_token = page.next_page_token

    return call


def _takes(request: Callable[P, Q]) -> Callable[[Callable[[S, Q], T]], Callable[Concatenate[S, P], T]]:
    """The method takes the fields of its request instead of the request."""

    def decorate(method: Callable[[S, Q], T]) -> Callable[Concatenate[S, P], T]:
        @wraps(method)
        def call(self: S, /, *args: P.args, **fields: P.kwargs) -> T:
            return method(self, request(*args, **fields))

        return call

    return decorate


class Stream(Iterator[T]):
    """What a stream brings, one after the other. It is opened when the first is asked for."""

    def __init__(self, line: Line, items: Generator[T, None, None]) -> None:
        self._line, self._items = line, items

    def __iter__(self) -> Stream[T]:
        return self

    def __next__(self) -> T:
        return self._items.__next__()

    def close(self) -> None:
        """Hangs up. For who reads it: while a read waits, there is `cancel`."""
        self._items.close()

    def cancel(self) -> None:
        """Hangs up, from wherever: a read that waits, or else the next one, raises a last `Error`, CANCELLED."""
        self._line.hang_up()


class Client:
    """A connection to a server.

    Each call is as the contract has it, and takes the fields of its request as keywords. Those that list something give
    all of it, page by page. `sessions`, `workspaces`, `profiles` and `runtime` are the generated stubs below them.
    """

    def __init__(self, channel: Channel, key: str = "", timeout: float | None = None, line: Line | None = None) -> None:
        self._channel, self._key, self._line = channel, key, line or Line()
        self._calls = Calls(channel, key, timeout, self._line)
        over: Any = self._calls
        sessions: SessionServiceStub = SessionServiceStub(over)
        workspaces: WorkspaceServiceStub = WorkspaceServiceStub(over)
        profiles: ProfileServiceStub = ProfileServiceStub(over)
        runtime: RuntimeServiceStub = RuntimeServiceStub(over)
        self.sessions, self.workspaces, self.profiles, self.runtime = sessions, workspaces, profiles, runtime

        self.create_session = _call(sessions.CreateSession, pb.CreateSessionRequest)
        self.get_session = _call(sessions.GetSession, pb.GetSessionRequest)
        self.list_sessions = _list(sessions.ListSessions, pb.ListSessionsRequest, pb.Session)
        self.update_session = _call(sessions.UpdateSession, pb.UpdateSessionRequest)
        self.sync_session = _call(sessions.SyncSession, pb.SyncSessionRequest)
        self.stop_session = _call(sessions.StopSession, pb.StopSessionRequest)
        self.delete_session = _call(sessions.DeleteSession, pb.DeleteSessionRequest)
        self.send_message = _call(sessions.SendMessage, pb.SendMessageRequest)
        self.get_turn = _call(sessions.GetTurn, pb.GetTurnRequest)
        self.list_turns = _list(sessions.ListTurns, pb.ListTurnsRequest, pb.Turn)
        self.list_blocks = _list(sessions.ListBlocks, pb.ListBlocksRequest, pb.Block)
        self.interrupt_turn = _call(sessions.InterruptTurn, pb.InterruptTurnRequest)
        self.cancel_turn = _call(sessions.CancelTurn, pb.CancelTurnRequest)
        self.resolve_permission = _call(sessions.ResolvePermission, pb.ResolvePermissionRequest)
        self.answer_question = _call(sessions.AnswerQuestion, pb.AnswerQuestionRequest)
        self.list_permission_rules = _call(sessions.ListPermissionRules, pb.ListPermissionRulesRequest)
        self.delete_permission_rule = _call(sessions.DeletePermissionRule, pb.DeletePermissionRuleRequest)
        self.list_files = _list(workspaces.ListFiles, pb.ListFilesRequest, pb.WorkspaceFile)
        self.write_file = _call(workspaces.WriteFile, pb.WriteFileRequest)
        self.delete_file = _call(workspaces.DeleteFile, pb.DeleteFileRequest)
        self.create_profile = _call(profiles.CreateProfile, pb.CreateProfileRequest)
        self.get_profile = _call(profiles.GetProfile, pb.GetProfileRequest)
        self.list_profiles = _list(profiles.ListProfiles, pb.ListProfilesRequest, pb.AgentProfile)
        self.update_profile = _call(profiles.UpdateProfile, pb.UpdateProfileRequest)
        self.delete_profile = _call(profiles.DeleteProfile, pb.DeleteProfileRequest)
        self.get_runtime_info = _call(runtime.GetRuntimeInfo, pb.GetRuntimeInfoRequest)
        self.list_sandboxes = _list(runtime.ListSandboxes, pb.ListSandboxesRequest, pb.SandboxRecord)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection, and what goes on over it with a last `Error`: CANCELLED."""
        self._line.hang_up()
        self._channel.close()

    def within(self, timeout: float | None) -> Client:
        """The same connection, over which whatever is begun ends after so many seconds with an `Error`.

        That is a call with all its attempts, and a stream over all its connections.
        """
        return Client(self._channel, self._key, timeout, self._line)

    @_takes(pb.WatchSessionRequest)
    def watch(self, request: pb.WatchSessionRequest) -> Stream[pb.SessionEvent]:
        """Streams a session: everything after a sequence, or a snapshot first; then live, until it is deleted."""
        return self._stream(Watch(request))

    @_takes(pb.WatchSessionsRequest)
    def watch_sessions(self, request: pb.WatchSessionsRequest) -> Stream[pb.WatchSessionsResponse]:
        """Streams how the list of sessions changes: all of it first, or what changed after a revision; then live.

        Where the list has to come anew, what went away meanwhile is told as REMOVED before it is synced again.
        """
        return self._stream(Listing(request))

    @_takes(pb.RunTurnRequest)
    def run_turn(self, request: pb.RunTurnRequest) -> Stream[pb.SessionEvent]:
        """Gives the agent a message, once, and streams its turn up to its end. Hanging up does not cancel it."""
        return self._stream(Turn(request))

    @_takes(pb.RunTurnRequest)
    def run(self, request: pb.RunTurnRequest) -> Stream[pb.Block]:
        """Gives the agent a message and yields each block of its turn whenever it changed: the same object as it grows.

        Raises an `Error` if the turn does not complete.
        """
        line = Line()
        return Stream(line, self._run(request, line))

    @_takes(pb.RunTurnRequest)
    def ask(self, request: pb.RunTurnRequest) -> str:
        """Gives the agent a message and returns what it writes to the user, with a blank line between two blocks.

        Raises an `Error` if the turn does not complete.
        """
        request.omit_deltas = True
        blocks: dict[str, pb.Block] = {}
        deadline = Deadline(self._calls.timeout)
        for block in self._run(request, Line(), deadline):
            if block.WhichOneof("content") == "assistant_text" and block.conversation_id == "main":
                blocks[block.block_id] = block
        return "\n\n".join([self._text(request.session_id, block, deadline) for block in blocks.values()])

    def text(self, session_id: str, block: pb.Block) -> str:
        """The whole text of a block, also what was too long to be inline; of a tool's call, what the tool is given."""
        return self._text(session_id, block, Deadline(self._calls.timeout))

    def _text(self, session_id: str, block: pb.Block, deadline: Deadline) -> str:
        if not block.truncated_bytes:
            return block.tool_use.input_json if block.HasField("tool_use") else words(block)
        request = pb.ReadBlockContentRequest(session_id=session_id, block_id=block.block_id)
        return (self._bytes(self.sessions.ReadBlockContent, request, deadline)).decode()

    @_takes(pb.ReadFileRequest)
    def read_file(self, request: pb.ReadFileRequest) -> bytes:
        """The bytes of a file. `workspaces.ReadFile` streams them."""
        return self._bytes(self.workspaces.ReadFile, request)

    @_takes(pb.ReadBlobRequest)
    def read_blob(self, request: pb.ReadBlobRequest) -> bytes:
        """The bytes that a session names by their hash: an image for example. `sessions.ReadBlob` streams them."""
        return self._bytes(self.sessions.ReadBlob, request)

    def upload_file(self, header: pb.UploadFileHeader, source: bytes | PathLike[str]) -> pb.UploadFileResponse:
        """Writes a file of any size, or unpacks an archive, all or nothing. Each attempt reads all of the source."""
        header, broken = named(header), list[OSError]()

        def requests() -> Generator[pb.UploadFileRequest, None, None]:
            yield pb.UploadFileRequest(header=header)
            try:
                for data in _pieces(source):
                    yield pb.UploadFileRequest(data=data)
            except OSError as error:
                # The call is cancelled: a stream that just ends would pass for the whole file.
                broken.append(error)
                raise

        def attempt(left: float | None) -> pb.UploadFileResponse:
            try:
                return self.workspaces.UploadFile(requests(), timeout=left)
            except (grpc.RpcError, Cancelled):
                if broken:
                    raise broken[0] from None
                raise

        return self._calls.again(attempt)

    def _run(
        self, request: pb.RunTurnRequest, line: Line, deadline: Deadline | None = None
    ) -> Generator[pb.Block, None, None]:
        state, turn = State(), pb.Turn()
        for event in self._follow(Turn(request), line, deadline):
            block = state.apply(event)
            if block is not None:
                yield block
            if event.HasField("turn_updated"):
                # Changes of other turns do not come, and the end of this one is the last event.
                turn = event.turn_updated.turn
        if turn.status != pb.TURN_STATUS_COMPLETED:
            raise Error.of_turn(turn)

    def _stream(self, resume: Resume[Any, T]) -> Stream[T]:
        line = Line()
        return Stream(line, self._follow(resume, line))

    def _follow(
        self, resume: Resume[Any, T], line: Line, deadline: Deadline | None = None
    ) -> Generator[T, None, None]:
        """What a stream brings that is opened again as long as that may help and nobody hung up."""
        deadline = deadline or Deadline(self._calls.timeout)
        with self._line.ends(line.hang_up):
            while not resume.done:
                line.check()
                began = time.monotonic()
                call: Any = getattr(self.sessions, resume.call)
                frames: Frames[Any] = call(resume.request(), timeout=deadline.left(), silence=resume.silence)
                error = None
                try:
                    with line.ends(frames.cancel):
                        for response in frames:
                            for item in resume.take(response):
                                yield item
                                if resume.done:
                                    return
                                line.check()
                except Error as cut:
                    line.check()
                    error = cut
                finally:
                    frames.cancel()
                pause = resume.pause(error, time.monotonic() - began)
                if not deadline.allows(pause):
                    late = "the stream ended, and there is no time left"
                    raise error or Error(grpc.StatusCode.DEADLINE_EXCEEDED, late)
                wait(line, pause)

    def _bytes(self, method: Any, request: Message, deadline: Deadline | None = None) -> bytes:
        def attempt(left: float | None) -> bytes:
            frames: Frames[Any] = method(request, timeout=left)
            try:
                return b"".join([response.data for response in frames])
            finally:
                frames.cancel()

        return self._calls.again(attempt, deadline)


def _pieces(source: bytes | PathLike[str]) -> Iterable[bytes]:
    if isinstance(source, bytes):
        yield from (source[at : at + _PIECE] for at in range(0, len(source), _PIECE))
        return
    with Path(source).open("rb") as file:
        while data := file.read(_PIECE):
            yield data

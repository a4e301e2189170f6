"""The client for threads. Made of `aio` by `tools/unasync.py`: change that one.

Calls are made again while what went wrong may pass, under one request id. Streams of events resume by themselves.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from itertools import count
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from . import pb
from ._sync import Cancelled, Channel, Frames, channel, sleep
from ._resume import ATTEMPTS, Backoff, Deadline, Events, Listing, Resume, TurnOptions, named
from .errors import Error
from .state import State
from .v1.profile_service_pb2_grpc import ProfileServiceStub
from .v1.runtime_service_pb2_grpc import RuntimeServiceStub
from .v1.session_service_pb2_grpc import SessionServiceStub
from .v1.workspace_service_pb2_grpc import WorkspaceServiceStub

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Client", "Session", "connect"]

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)
T = TypeVar("T")
Metadata = tuple[tuple[str, str], ...]

# No response is larger than 4 MiB; the rest is for what wraps it. A connection that was lost is tried again soon: how
# long to wait is decided here and not below.
_OPTIONS = (
    ("grpc.max_receive_message_length", 5 << 20),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),
)
# The most that one request carries.
_PIECE = 1 << 20
_ARCHIVES = {
    "": pb.ARCHIVE_FORMAT_UNSPECIFIED,
    "tar": pb.ARCHIVE_FORMAT_TAR,
    "tar.gz": pb.ARCHIVE_FORMAT_TAR_GZ,
    "zip": pb.ARCHIVE_FORMAT_ZIP,
}


def connect(addr: str, *, key: str = "", ca: bytes | None = None, timeout: float | None = None) -> Client:
    """A client of the server at `HOST:PORT`, with the key that goes after "Bearer ".

    The connection is made when it is needed, and over TLS with `ca`, the certificates to trust in PEM, or `https://`.
    `timeout` bounds each call, all its attempts together, in seconds; streams are given theirs where they are opened.
    """
    tls = ca is not None or addr.startswith("https://")
    address = addr.removeprefix("https://").removeprefix("http://").rstrip("/")
    credentials = grpc.ssl_channel_credentials(ca) if tls else None
    metadata: Metadata = (("authorization", f"Bearer {key.strip()}"),) if key else ()
    return Client(channel(address, credentials, _OPTIONS), metadata, timeout)


class Client:
    """A connection to a server. The stubs have every call of the contract; `call` makes them safe to repeat."""

    def __init__(self, channel: Channel, metadata: Metadata, timeout: float | None = None) -> None:
        self._channel = channel
        self._metadata = metadata
        self._timeout = timeout
        self.sessions: SessionServiceStub = SessionServiceStub(channel)
        self.workspaces: WorkspaceServiceStub = WorkspaceServiceStub(channel)
        self.profiles: ProfileServiceStub = ProfileServiceStub(channel)
        self.runtime: RuntimeServiceStub = RuntimeServiceStub(channel)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection, and what goes on over it."""
        self._channel.close()

    def within(self, timeout: float | None) -> Client:
        """The same connection with another bound for each call."""
        return Client(self._channel, self._metadata, timeout)

    def call(self, method: grpc.UnaryUnaryMultiCallable[Q, A], request: Q) -> A:
        """Makes a call, again while what went wrong may pass; a request that changes something gets an id."""
        request = named(request)

        def attempt(left: float | None) -> A:
            return method(request, metadata=self._metadata, timeout=left)

        answer: A = self._again(attempt)
        return answer

    def _again(self, attempt: Any) -> Any:
        backoff, deadline = Backoff(), Deadline(self._timeout)
        for made in count(1):
            try:
                return attempt(deadline.left())
            except grpc.RpcError as failed:
                error = Error.of(failed)
            pause = backoff.next(error.retry_after)
            if made == ATTEMPTS or not error.is_transient or not deadline.allows(pause):
                raise error
            sleep(pause)

    def _follow(self, method: Any, resume: Resume[Any, T], timeout: float | None) -> Generator[T, None, None]:
        """What a stream brings that is opened again as long as that may help."""
        deadline = Deadline(timeout)
        while not resume.done:
            call = method(resume.request(), metadata=self._metadata, timeout=deadline.left())
            frames = Frames[Any](call, resume.silence)
            error, came = None, False
            try:
                while (response := frames.next()) is not None:
                    came = True
                    for item in resume.take(response):
                        yield item
                    if resume.done:
                        return
            except Error as cut:
                error = cut
            finally:
                frames.cancel()
            pause = resume.pause(error, came)
            if not deadline.allows(pause):
                raise error or Error(grpc.StatusCode.DEADLINE_EXCEEDED, "the stream ended, and there is no time left")
            sleep(pause)

    def _bytes(self, method: Any, request: Message) -> Generator[bytes, None, None]:
        """The data of a stream of pieces."""
        frames = Frames[Any](method(request, metadata=self._metadata), None)
        try:
            while (response := frames.next()) is not None:
                yield response.data
        finally:
            frames.cancel()

    def _pages(self, method: Any, request: Any, items: str) -> Generator[Any, None, None]:
        while True:
            response = self.call(method, request)
            for item in getattr(response, items):
                yield item
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    def create(
        self,
        *,
        agent: str = "",
        profile_id: str = "",
        external_id: str = "",
        name: str = "",
        options: pb.SessionOptions | None = None,
        labels: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        sandbox: pb.SandboxSpec | None = None,
        workspace_source: pb.WorkspaceSource | None = None,
        workspace_files: Mapping[str, bytes] | None = None,
        start_sandbox: bool = False,
        request_id: str = "",
    ) -> Session:
        """Stores a session; its sandbox starts with the first message unless `start_sandbox` is set."""
        request = pb.CreateSessionRequest(
            profile_id=profile_id,
            agent=agent,
            external_id=external_id,
            name=name,
            options=options,
            labels=labels,
            sandbox=sandbox,
            workspace_source=workspace_source,
            workspace_files=[pb.FileContent(path=path, content=data) for path, data in (workspace_files or {}).items()],
            start_sandbox=start_sandbox,
            request_id=request_id,
        )
        if metadata is not None:
            request.metadata.update(dict(metadata))
        response = self.call(self.sessions.CreateSession, request)
        return Session(self, response.session.session_id, response.session)

    def session(self, session_id: str) -> Session:
        """A session by its id, without asking the server."""
        return Session(self, session_id, pb.Session(session_id=session_id))

    def get(self, session_id: str) -> Session:
        """A session, as it is now."""
        session = self.session(session_id)
        session.get()
        return session

    def list(
        self,
        *,
        status: pb.SessionStatus.ValueType = pb.SESSION_STATUS_UNSPECIFIED,
        profile_id: str = "",
        external_id: str = "",
        labels: Mapping[str, str] | None = None,
        page_size: int = 0,
    ) -> Generator[pb.Session, None, None]:
        """All sessions that match, newest first."""
        request = pb.ListSessionsRequest(
            page_size=page_size, status=status, profile_id=profile_id, external_id=external_id, labels=labels
        )
        return self._pages(self.sessions.ListSessions, request, "sessions")

    def watch(
        self,
        *,
        after: int | None = None,
        status: pb.SessionStatus.ValueType = pb.SESSION_STATUS_UNSPECIFIED,
        profile_id: str = "",
        labels: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Generator[pb.WatchSessionsResponse, None, None]:
        """Streams how the list of sessions changes: all of it first, or what changed after a revision; then live.

        Where the list has to come anew, what went away meanwhile is told as REMOVED before it is synced again.
        """
        request = pb.WatchSessionsRequest(after_revision=after, status=status, profile_id=profile_id, labels=labels)
        return self._follow(self.sessions.WatchSessions, Listing(request), timeout)

    def list_profiles(self) -> Generator[pb.AgentProfile, None, None]:
        """All profiles, by name, with their basic fields."""
        return self._pages(self.profiles.ListProfiles, pb.ListProfilesRequest(), "profiles")

    def info(self) -> pb.GetRuntimeInfoResponse:
        """What the server is and can do, and who the caller is to it."""
        return self.call(self.runtime.GetRuntimeInfo, pb.GetRuntimeInfoRequest())


class Session:
    """A session of a server."""

    def __init__(self, client: Client, session_id: str, record: pb.Session) -> None:
        self._client = client
        self._sessions = client.sessions
        self._workspaces = client.workspaces
        self.id = session_id
        self.record = record
        """As the last call that told it has it."""

    def __repr__(self) -> str:
        return f"<Session {self.id}>"

    def get(self) -> pb.GetSessionResponse:
        """The session now, and what it waits for."""
        response = self._client.call(self._sessions.GetSession, pb.GetSessionRequest(session_id=self.id))
        self.record = response.session
        return response

    def update(
        self,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        options: pb.SessionOptions | None = None,
        etag: str = "",
    ) -> pb.Session:
        """Changes what is given here; a set `etag` must match."""
        changed = pb.Session(session_id=self.id, etag=etag, labels=labels, options=options)
        request = pb.UpdateSessionRequest(session=changed)
        if name is not None:
            request.session.name = name
        if metadata is not None:
            request.session.metadata.update(dict(metadata))
        given = {"name": name, "labels": labels, "metadata": metadata, "options": options}
        request.update_mask.paths.extend(field for field, value in given.items() if value is not None)
        self.record = (self._client.call(self._sessions.UpdateSession, request)).session
        return self.record

    def stop(self) -> pb.Session:
        """Ends the session's turns and its sandbox; the next message starts it again."""
        request = pb.StopSessionRequest(session_id=self.id)
        self.record = (self._client.call(self._sessions.StopSession, request)).session
        return self.record

    def delete(self, *, etag: str = "") -> None:
        """Stops the session and deletes all that is stored of it."""
        self._client.call(self._sessions.DeleteSession, pb.DeleteSessionRequest(session_id=self.id, etag=etag))

    def send(
        self,
        text: str = "",
        *,
        parts: Sequence[pb.ContentPart] = (),
        busy_policy: pb.BusyPolicy.ValueType = pb.BUSY_POLICY_UNSPECIFIED,
        request_id: str = "",
    ) -> pb.SendMessageResponse:
        """Gives the agent a message; returns when it is accepted. Watch after its sequence for the answer."""
        request = pb.SendMessageRequest(
            session_id=self.id, text=text, parts=parts, busy_policy=busy_policy, request_id=request_id
        )
        return self._client.call(self._sessions.SendMessage, request)

    def run_turn(
        self, text: str = "", *, timeout: float | None = None, **options: Unpack[TurnOptions]
    ) -> Generator[pb.SessionEvent, None, None]:
        """Gives the agent a message, once, and streams its turn up to its end, or for `timeout` seconds.

        Hanging up does not cancel the turn.
        """
        return self._follow_turn(self._turn(text, options), timeout)

    def run(
        self, text: str = "", *, timeout: float | None = None, **options: Unpack[TurnOptions]
    ) -> Generator[pb.Block, None, None]:
        """Gives the agent a message and yields each block of its turn whenever it changed: the same object as it grows.

        Raises an `Error` if the turn does not complete, or not within `timeout` seconds.
        """
        turn = self._turn(text, options)
        state = State()
        for event in self._follow_turn(turn, timeout):
            state.apply(event)
            kind = event.WhichOneof("kind")
            if kind in ("block_start", "block_complete"):
                block = state.block(getattr(event, kind).block.block_id)
            elif kind in ("block_delta", "block_update"):
                block = state.block(getattr(event, kind).block_id)
            else:
                continue
            if block is not None:
                yield block
        if turn.turn is not None and turn.turn.status != pb.TURN_STATUS_COMPLETED:
            raise Error.of_turn(turn.turn)

    def ask(self, text: str, *, timeout: float | None = None, request_id: str = "") -> str:
        """Gives the agent a message and returns what it writes to the user, with a blank line between two blocks.

        Raises an `Error` if the turn does not complete, or not within `timeout` seconds.
        """
        blocks: dict[str, pb.Block] = {}
        for block in self.run(text, timeout=timeout, omit_deltas=True, request_id=request_id):
            if block.WhichOneof("content") == "assistant_text" and block.conversation_id == "main":
                blocks[block.block_id] = block
        return "\n\n".join([self.text(block) for block in blocks.values()])

    def text(self, block: pb.Block) -> str:
        """The whole text of a block that the agent wrote, also what was too long to be inline."""
        inline = block.assistant_text.text or block.thinking.text
        if not block.truncated_bytes:
            return inline
        request = pb.ReadBlockContentRequest(session_id=self.id, block_id=block.block_id)
        pieces = self._client._bytes(self._sessions.ReadBlockContent, request)
        return b"".join([piece for piece in pieces]).decode()

    def watch(
        self,
        *,
        after: int | None = None,
        uid: str = "",
        conversation_ids: Sequence[str] = (),
        omit_deltas: bool = False,
        bookmark_interval: float | None = None,
        max_batch_delay: float | None = None,
        timeout: float | None = None,
    ) -> Generator[pb.SessionEvent, None, None]:
        """Streams the session: everything after a sequence, or a snapshot first; then live, until it is deleted.

        Raises an `Error` after `timeout` seconds.
        """
        request = pb.WatchSessionRequest(
            session_id=self.id,
            after_sequence=after,
            expected_uid=uid,
            conversation_ids=conversation_ids,
            omit_deltas=omit_deltas,
            bookmark_interval=_duration(bookmark_interval),
            max_batch_delay=_duration(max_batch_delay),
        )
        return self._client._follow(self._sessions.WatchSession, Events(request), timeout)

    def interrupt(self, turn_id: str = "") -> pb.Turn | None:
        """Stops that turn, or the active one; `None` if there was nothing to stop."""
        request = pb.InterruptTurnRequest(session_id=self.id, turn_id=turn_id)
        response = self._client.call(self._sessions.InterruptTurn, request)
        return response.turn if response.HasField("turn") else None

    def cancel(self, turn_id: str) -> pb.Turn:
        """Takes a turn out of the queue."""
        request = pb.CancelTurnRequest(session_id=self.id, turn_id=turn_id)
        return (self._client.call(self._sessions.CancelTurn, request)).turn

    def resolve_permission(
        self, permission_id: str, option_id: str, *, message: str = "", updated_input_json: str = ""
    ) -> pb.ResolvePermissionResponse:
        """Answers a permission request; the first answer wins."""
        request = pb.ResolvePermissionRequest(
            session_id=self.id,
            permission_id=permission_id,
            option_id=option_id,
            message=message,
            updated_input_json=updated_input_json,
        )
        return self._client.call(self._sessions.ResolvePermission, request)

    def answer_question(
        self, question_id: str, answers: Sequence[pb.QuestionAnswer] = (), *, message: str = ""
    ) -> pb.Question:
        """Answers a question, one answer per item; none at all declines."""
        request = pb.AnswerQuestionRequest(
            session_id=self.id, question_id=question_id, answers=answers, message=message
        )
        return (self._client.call(self._sessions.AnswerQuestion, request)).question

    def blocks(self, *, conversation_id: str = "", newest_first: bool = False) -> Generator[pb.Block, None, None]:
        """All blocks of a conversation."""
        order = pb.LIST_ORDER_NEWEST_FIRST if newest_first else pb.LIST_ORDER_OLDEST_FIRST
        request = pb.ListBlocksRequest(session_id=self.id, conversation_id=conversation_id, order=order)
        return self._client._pages(self._sessions.ListBlocks, request, "blocks")

    def turns(self, *, status: pb.TurnStatus.ValueType = pb.TURN_STATUS_UNSPECIFIED) -> Generator[pb.Turn, None, None]:
        """All turns, oldest first."""
        request = pb.ListTurnsRequest(session_id=self.id, status=status)
        return self._client._pages(self._sessions.ListTurns, request, "turns")

    def read_blob(self, sha256: str) -> bytes:
        """Bytes that the session names by their hash."""
        pieces = self._client._bytes(self._sessions.ReadBlob, pb.ReadBlobRequest(session_id=self.id, sha256=sha256))
        return b"".join([piece for piece in pieces])

    def files(self, prefix: str = "") -> Generator[pb.WorkspaceFile, None, None]:
        """All files of the workspace, or of a folder, by path."""
        request = pb.ListFilesRequest(session_id=self.id, prefix=prefix)
        return self._client._pages(self._workspaces.ListFiles, request, "files")

    def stream_file(self, path: str, *, offset: int = 0, limit: int = 0) -> Generator[bytes, None, None]:
        """The bytes of a file, piece by piece."""
        request = pb.ReadFileRequest(session_id=self.id, path=path, offset=offset, limit=limit)
        return self._client._bytes(self._workspaces.ReadFile, request)

    def read_file(self, path: str, *, offset: int = 0, limit: int = 0) -> bytes:
        """The bytes of a file."""
        return b"".join([piece for piece in self.stream_file(path, offset=offset, limit=limit)])

    def write_file(self, path: str, content: bytes, *, mode: int = 0, if_sha256: str = "") -> pb.WorkspaceFile:
        """Writes a file of any size. `if_sha256`: only over the file with this hash; "-": only if there is none."""
        if len(content) > _PIECE:
            return (self.upload(path, content, mode=mode, if_sha256=if_sha256)).file
        file = pb.FileContent(path=path, content=content, mode=mode)
        request = pb.WriteFileRequest(session_id=self.id, file=file, if_sha256=if_sha256)
        return (self._client.call(self._workspaces.WriteFile, request)).file

    def upload(
        self,
        path: str,
        source: bytes | PathLike[str],
        *,
        mode: int = 0,
        if_sha256: str = "",
        unpack: Literal["", "tar", "tar.gz", "zip"] = "",
    ) -> pb.UploadFileResponse:
        """Writes a file, or with `unpack` an archive's files into the folder `path`, all or nothing."""
        header = named(
            pb.UploadFileHeader(session_id=self.id, path=path, mode=mode, if_sha256=if_sha256, unpack=_ARCHIVES[unpack])
        )

        broken: list[OSError] = []

        def requests() -> Generator[pb.UploadFileRequest, None, None]:
            yield pb.UploadFileRequest(header=header)
            if isinstance(source, bytes):
                for at in range(0, len(source), _PIECE):
                    yield pb.UploadFileRequest(data=source[at : at + _PIECE])
                return
            try:
                with Path(source).open("rb") as file:
                    while data := file.read(_PIECE):
                        yield pb.UploadFileRequest(data=data)
            except OSError as error:
                # The call is cancelled: a stream that just ends would pass for the whole file.
                broken.append(error)
                raise

        def attempt(left: float | None) -> pb.UploadFileResponse:
            try:
                return self._workspaces.UploadFile(requests(), metadata=self._client._metadata, timeout=left)
            except (grpc.RpcError, Cancelled):
                if broken:
                    raise broken[0] from None
                raise

        response: pb.UploadFileResponse = self._client._again(attempt)
        return response

    def delete_file(self, path: str, *, if_sha256: str = "") -> None:
        """Deletes a file, a link or an empty folder."""
        request = pb.DeleteFileRequest(session_id=self.id, path=path, if_sha256=if_sha256)
        self._client.call(self._workspaces.DeleteFile, request)

    def _turn(self, text: str, options: TurnOptions) -> Events:
        return Events(pb.RunTurnRequest(session_id=self.id, text=text, **options))

    def _follow_turn(self, turn: Events, timeout: float | None) -> Generator[pb.SessionEvent, None, None]:
        return self._client._follow(self._sessions.RunTurn, turn, timeout)


def _duration(seconds: float | None) -> Duration | None:
    return None if seconds is None else Duration(seconds=int(seconds), nanos=round(seconds % 1 * 1e9))

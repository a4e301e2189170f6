"""What no healthy server does: a played one breaks the rule of ranges, forgets its log, and cuts a snapshot short."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

import agentruntime
from agentruntime import Error, aio, pb
from agentruntime._resume import Listing, Resume, Watch
from agentruntime.v1.session_service_pb2_grpc import SessionServiceServicer, add_SessionServiceServicer_to_server


def of(sequence: int, first: int = 0) -> pb.SessionEvent:
    """An event that a watch brings."""
    return pb.SessionEvent(sequence=sequence, first_sequence=first, session_updated=pb.SessionUpdated())


def bookmark(sequence: int) -> pb.SessionEvent:
    return pb.SessionEvent(sequence=sequence, first_sequence=sequence + 1, bookmark=pb.Bookmark())


def snapshot(sequence: int, *, whole: bool) -> list[pb.SessionEvent]:
    """One without anything in it, or its beginning."""
    start = pb.SessionEvent(sequence=sequence, snapshot_start=pb.SnapshotStart())
    return [start, pb.SessionEvent(sequence=sequence, snapshot_complete=pb.SnapshotComplete())] if whole else [start]


# A log that no longer reaches back to the cursor.
TRUNCATED = "SEQUENCE_TRUNCATED"


class Played(SessionServiceServicer):
    """Each stream that is opened brings the next of these, and ends; or is refused, for this reason."""

    def __init__(self) -> None:
        self.streams: list[list[pb.SessionEvent] | str] = []
        self.asked: list[int | None] = []
        """After which sequence."""
        self.left: list[float] = []
        """Seconds that each call of an `ask` has."""

    def WatchSession(self, request: pb.WatchSessionRequest, context: Any) -> Iterator[pb.WatchSessionResponse]:
        self.asked.append(request.after_sequence if request.HasField("after_sequence") else None)
        if not self.streams:
            context.abort(grpc.StatusCode.NOT_FOUND, "no more is played")
        stream = self.streams.pop(0)
        if isinstance(stream, str):
            told = status_pb2.Status(code=grpc.StatusCode.OUT_OF_RANGE.value[0])
            told.details.add().Pack(error_details_pb2.ErrorInfo(reason=stream))
            context.set_trailing_metadata([("grpc-status-details-bin", told.SerializeToString())])
            context.abort(grpc.StatusCode.OUT_OF_RANGE, "")
        else:
            yield pb.WatchSessionResponse(events=stream, uid="one")

    def RunTurn(self, request: pb.RunTurnRequest, context: Any) -> Iterator[pb.RunTurnResponse]:
        """A turn of a while, whose text is too long to be inline."""
        self.left.append(context.time_remaining())
        yield pb.RunTurnResponse(turn=pb.Turn(turn_id="turn_1"), sequence=3)
        time.sleep(2.5)
        text = pb.Block(block_id="blk_1", conversation_id="main", truncated_bytes=1, assistant_text=pb.AssistantText())
        ended = pb.Turn(turn_id="turn_1", status=pb.TURN_STATUS_COMPLETED)
        ended.end_time.GetCurrentTime()
        begin = pb.SessionEvent(sequence=4, block_start=pb.BlockStart(block=text))
        end = pb.SessionEvent(sequence=5, turn_updated=pb.TurnUpdated(turn=ended))
        yield pb.RunTurnResponse(events=[begin, end])

    def ReadBlockContent(
        self, request: pb.ReadBlockContentRequest, context: Any
    ) -> Iterator[pb.ReadBlockContentResponse]:
        self.left.append(context.time_remaining())
        yield pb.ReadBlockContentResponse(data=b"all of it")


@pytest.fixture
def played() -> Iterator[tuple[Played, str]]:
    """It, and where it listens."""
    # What is not played is not implemented, as the base class answers.
    service, server = Played(), grpc.server(ThreadPoolExecutor())  # type: ignore[abstract]
    add_SessionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield service, f"127.0.0.1:{port}"
    server.stop(None).wait()


DELETED = pb.SessionEvent(sequence=9, status_changed=pb.StatusChanged(status=pb.SESSION_STATUS_DELETED))


def up_to(first: int) -> pb.SessionEvent:
    """The last event of a session, which reaches back to there."""
    last = pb.SessionEvent()
    last.CopyFrom(DELETED)
    last.first_sequence = first
    return last


GOES_ON: list[tuple[list[list[pb.SessionEvent] | str], list[int | None]]] = [
    ([[bookmark(3), of(4), of(6, first=5)], [up_to(7)]], [3, 6]),
    # From a cursor that the log has lost there is a snapshot, and from there on it goes on.
    ([[of(4)], TRUNCATED, [*snapshot(7, whole=True), of(8)], [up_to(9)]], [3, 4, None, 8]),
    # Half a snapshot is none: the next attempt asks for all of it.
    ([TRUNCATED, snapshot(7, whole=False), [*snapshot(8, whole=True), up_to(9)]], [3, None, None]),
]


@pytest.mark.parametrize(("streams", "asked"), GOES_ON)
async def test_a_watch_goes_on(
    played: tuple[Played, str], streams: list[list[pb.SessionEvent] | str], asked: list[int | None]
) -> None:
    service, addr = played
    brought = [event for stream in streams if isinstance(stream, list) for event in stream]
    service.streams = list(streams)
    async with aio.connect(addr) as client:
        assert [event async for event in client.watch(session_id="ses_1", after_sequence=3)] == brought
    assert service.asked == asked
    service.streams, service.asked = list(streams), []
    with agentruntime.connect(addr) as threads:
        assert list(threads.watch(session_id="ses_1", after_sequence=3)) == brought
    assert service.asked == asked


BROKEN = [
    # A gap, what came already, a range that ends before it begins, a bookmark of something else, and half a snapshot.
    [of(5)],
    [of(3)],
    [of(6, first=4), of(6)],
    [of(3, first=4)],
    [bookmark(5)],
    [*snapshot(7, whole=False), of(8)],
]


@pytest.mark.parametrize("stream", BROKEN)
async def test_a_broken_range_is_an_error(played: tuple[Played, str], stream: list[pb.SessionEvent]) -> None:
    service, addr = played
    service.streams = [stream, stream]
    async with aio.connect(addr) as client:
        with pytest.raises(Error) as broken:
            assert [event async for event in client.watch(session_id="ses_1", after_sequence=3)] == stream
        assert broken.value.code is grpc.StatusCode.DATA_LOSS
    with agentruntime.connect(addr) as threads:
        with pytest.raises(Error) as broken:
            list(threads.watch(session_id="ses_1", after_sequence=3))
        assert broken.value.code is grpc.StatusCode.DATA_LOSS
    assert service.asked == [3, 3], "asking again does not help"


async def test_an_ask_has_one_deadline(played: tuple[Played, str]) -> None:
    service, addr = played
    async with aio.connect(addr) as client:
        assert await client.within(60).ask(session_id="ses_1", text="long") == "all of it"
    turn, text = service.left
    assert turn - text > 1, "which is told in whole seconds"


def pauses(resume: Resume[Any, Any], response: Any, lived: float = 0) -> float:
    """How long the last of several pauses is, between streams that bring this."""
    for _ in range(6):
        list(resume.take(response))
        pause = resume.pause(None, lived)
    return pause


def test_pauses_grow_until_something_new_comes() -> None:
    watch = Watch(pb.WatchSessionRequest(session_id="ses_1", after_sequence=3))
    still = pb.WatchSessionResponse(events=[bookmark(3)])
    assert pauses(watch, still) > 1, "a bookmark of what is known is nothing new"
    assert pauses(watch, still, lived=15) <= 0.1, "but a stream that lived is"
    assert pauses(watch, still) > 1
    list(watch.take(pb.WatchSessionResponse(events=[of(4)])))
    assert watch.pause(None, 0) <= 0.1
    listing = Listing(pb.WatchSessionsRequest(after_revision=3))
    assert pauses(listing, pb.WatchSessionsResponse(revision=3, synced=True)) > 1
    list(listing.take(pb.WatchSessionsResponse(revision=4)))
    assert listing.pause(None, 0) <= 0.1

"""Watches that are taken up again: from a hundred places of a turn, and behind proxies that cut what is silent."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grpc
import pytest
from following import create, events_to, fold, snapshot
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import error_details_pb2, status_pb2
from support import Proxy, Server, script

import agentruntime
from agentruntime import Error, State, aio, pb
from agentruntime._resume import Backoff, Watch

RESUMES = 100
# Many events, of which each is a place to be cut at.
BUSY = script(
    {
        "repeat": 20,
        "steps": [
            {"think": "Hä? 😀 é", "size": 1, "pace_ms": 5},
            {"count": 20, "size": 20, "pace_ms": 2},
            {"tool": "Read", "input": {}, "output": "x"},
        ],
    },
    {"run": "echo 1 > f"},
)


@pytest.fixture
def seed() -> int:
    """Of what is random; `SEED` gives it again."""
    return int(os.environ.get("SEED") or random.randrange(1 << 64))


def is_final(event: pb.SessionEvent) -> bool:
    return event.turn_updated.turn.HasField("end_time")


async def test_every_resume_folds_to_the_same_state(client: aio.Client, seed: int) -> None:
    session_id = await create(client)
    sent = await client.send_message(session_id=session_id, text=BUSY)
    seen = []
    async for event in client.watch(session_id=session_id, after_sequence=0):
        seen.append(event)
        if event.turn_updated.turn.turn_id == sent.turn.turn_id and is_final(event):
            break
    state, head = await snapshot(client, session_id)
    places = random.Random(seed)
    for _ in range(RESUMES):
        # Not before the session is there: what a bookmark alone says is not kept.
        before = seen[: places.randrange(2, len(seen))]
        after = await events_to(client, session_id, head, before[-1].sequence) if before[-1].sequence < head else []
        assert fold(before, after) == state.value, f"SEED={seed}: taken up after {before[-1].sequence} of {head}"


def test_every_resume_of_threads_folds_to_the_same_state(server: Server, seed: int) -> None:
    with agentruntime.connect(server.addr, key=server.key) as client:
        session_id = client.create_session(agent="scripted").session.session_id
        client.send_message(session_id=session_id, text=BUSY)
        seen = []
        for event in client.watch(session_id=session_id, after_sequence=0):
            seen.append(event)
            if is_final(event):
                break
        head, places, states = seen[-1].sequence, random.Random(seed), []
        for _ in range(RESUMES):
            state, at = State(), places.randrange(2, len(seen))
            for event in seen[:at]:
                state.apply(event)
            for event in client.watch(session_id=session_id, after_sequence=seen[at - 1].sequence):
                state.apply(event)
                if event.sequence >= head:
                    break
            states.append(state.value)
        assert all(state == states[0] for state in states), f"SEED={seed}"


class Opened:
    """Counts the streams that are opened."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.times = 0
        self._method = method

    def __call__(self, *args: object, **named: object) -> Any:
        self.times += 1
        return self._method(*args, **named)


async def test_a_silent_stream_is_opened_again(client: aio.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    session_id = await create(client)
    watch = Watch(pb.WatchSessionRequest(session_id=session_id, after_sequence=1))
    opened = Opened(client.sessions.WatchSession)
    with pytest.raises(Error, match="silent"):
        async for _ in opened(watch.request(), silence=0.5):
            pass
    assert watch.silence == 45
    watch.silence = 0.3
    monkeypatch.setattr(client.sessions, "WatchSession", opened)
    # The server keeps still for 15 s; each new stream begins with a bookmark.
    async for event in client._stream(watch):
        if opened.times >= 4 and event.WhichOneof("kind") == "bookmark":
            await client.update_session(**heard(session_id))
        if event.WhichOneof("kind") == "session_updated":
            break


def test_a_silent_stream_of_threads_is_opened_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with agentruntime.connect(server.addr, key=server.key) as client:
        session_id = client.create_session(agent="scripted").session.session_id
        watch = Watch(pb.WatchSessionRequest(session_id=session_id, after_sequence=1))
        opened = Opened(client.sessions.WatchSession)
        monkeypatch.setattr(client.sessions, "WatchSession", opened)
        watch.silence = 0.3
        for event in client._stream(watch):
            if opened.times >= 3 and event.WhichOneof("kind") == "bookmark":
                client.update_session(**heard(session_id))
            if event.WhichOneof("kind") == "session_updated":
                break


IDLE = int(os.environ.get("IDLE_SECONDS") or 0)
"""How long streams are idle at least, where they have to live with a proxy that does not like it."""
# What there is in earnest, and what takes less of a test's time.
PATIENCE = 20 if IDLE else 10
BOOKMARKS: dict[str, Any] = {} if IDLE else {"bookmark_interval": Duration(seconds=2)}
# The first comes at once.
ENOUGH = 3 if IDLE else 7


class Quiet:
    """A session in which nothing happens, watched through a proxy, until it is enough."""

    def __init__(self, session_id: str, proxy: Proxy, enough: Callable[[int], bool]) -> None:
        self.request: dict[str, Any] = {"session_id": session_id, "after_sequence": 1}
        self._proxy, self._enough = proxy, enough
        self._began, self._bookmarks = time.monotonic(), 0

    def is_over(self, event: pb.SessionEvent) -> bool:
        """Whether it is enough, now that this came."""
        self._bookmarks += event.WhichOneof("kind") == "bookmark"
        idle = time.monotonic() - self._began
        over = idle >= IDLE and self._enough(self._bookmarks)
        if over:
            silent = f"{self._proxy.silenced} of {self._proxy.accepted} connections were silent for too long"
            print(f"after {idle:.0f} s and {self._bookmarks} bookmarks; {silent}")
        return over


def heard(session_id: str) -> dict[str, Any]:
    """A change of the session that its watchers hear of."""
    change = pb.Session(session_id=session_id, name="heard")
    return {"session": change, "update_mask": FieldMask(paths=["name"])}


async def quiet(server: Server, proxy: Proxy, enough: Callable[[int], bool], **asked: Any) -> None:
    """With asyncio."""
    async with aio.connect(server.addr, key=server.key) as direct, aio.connect(proxy.addr, key=server.key) as client:
        session_id = await create(direct)
        idle = Quiet(session_id, proxy, enough)
        async for event in client.watch(**idle.request, **asked):
            if event.WhichOneof("kind") == "session_updated":
                return
            if idle.is_over(event):
                await direct.update_session(**heard(session_id))


def quiet_thread(server: Server, proxy: Proxy, enough: Callable[[int], bool], **asked: Any) -> None:
    """With threads."""
    with (
        agentruntime.connect(server.addr, key=server.key) as direct,
        agentruntime.connect(proxy.addr, key=server.key) as client,
    ):
        session_id = direct.create_session(agent="scripted").session.session_id
        idle = Quiet(session_id, proxy, enough)
        for event in client.watch(**idle.request, **asked):
            if event.WhichOneof("kind") == "session_updated":
                return
            if idle.is_over(event):
                direct.update_session(**heard(session_id))


@pytest.fixture
def proxies(server: Server, patience: float) -> Iterator[list[Proxy]]:
    """Two of this patience."""
    proxies = [Proxy(server.port, patience) for _ in range(2)]
    yield proxies
    for proxy in proxies:
        proxy.close()


@pytest.mark.parametrize("patience", [2])
async def test_a_stream_goes_on_behind_a_proxy_that_cuts_silent_connections(
    server: Server, proxies: list[Proxy]
) -> None:
    # Each new stream begins with a bookmark.
    one, two = proxies
    await asyncio.gather(
        quiet(server, one, lambda _: one.silenced >= 2),
        asyncio.to_thread(quiet_thread, server, two, lambda _: two.silenced >= 2),
    )


@pytest.mark.parametrize("patience", [PATIENCE])
async def test_half_a_minute_of_silence(server: Server, proxies: list[Proxy]) -> None:
    one, two = proxies
    forgets = [Proxy(server.port, 2, forgets=True) for _ in range(2)]
    three, four = forgets
    await asyncio.gather(
        # Bookmarks keep a connection open, also for longer than a proxy of this patience would have it.
        quiet(server, one, lambda bookmarks: bookmarks >= ENOUGH, **BOOKMARKS),
        asyncio.to_thread(partial(quiet_thread, **BOOKMARKS), server, two, lambda bookmarks: bookmarks >= ENOUGH),
        # Where a connection is forgotten nobody answers any more, which HTTP/2's pings see after half a minute.
        quiet(server, three, lambda _: three.accepted >= 2),
        asyncio.to_thread(quiet_thread, server, four, lambda _: four.accepted >= 2),
    )
    assert [proxy.silenced for proxy in proxies] == [0, 0]
    assert all(proxy.silenced >= 1 for proxy in forgets)
    for proxy in forgets:
        proxy.close()


def test_pauses_grow_with_jitter_and_are_what_the_server_asks_for() -> None:
    backoff = Backoff()
    pauses = [backoff.next() for _ in range(12)]
    ceilings = [min(0.1 * 2**failures, 10.0) for failures in range(12)]
    assert all(ceiling / 2 <= pause <= ceiling for pause, ceiling in zip(pauses, ceilings, strict=True)), pauses
    assert len(set(pauses)) == 12
    assert all(30 <= backoff.next(30) <= 60 for _ in range(100))


def test_what_the_server_asks_for_is_read() -> None:
    told = status_pb2.Status(code=8, message="slow down")
    bad = error_details_pb2.BadRequest.FieldViolation(field="text", description="is too long")
    for detail in (
        error_details_pb2.RetryInfo(retry_delay={"seconds": 1, "nanos": 500_000_000}),
        error_details_pb2.ErrorInfo(reason="RATE_LIMITED", metadata={"limit": "7"}),
        error_details_pb2.BadRequest(field_violations=[bad]),
    ):
        told.details.add().Pack(detail)
    trailers = grpc.aio.Metadata(("grpc-status-details-bin", told.SerializeToString()))
    refused = grpc.aio.AioRpcError(
        grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.aio.Metadata(), trailers, details=told.message
    )
    error = agentruntime.Error.of(refused)
    assert (error.reason, error.retry_after, error.metadata) == ("RATE_LIMITED", 1.5, {"limit": "7"})
    assert error.is_transient
    assert str(error) == "slow down [RATE_LIMITED]\n  text: is too long"

"""What ends because this side wants it: a cancelled task, a cancelled stream, a closed client."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from following import create
from support import ENDLESS, Server

import agentruntime
from agentruntime import Error, _sync, aio, pb
from agentruntime._aio import settled, wait
from agentruntime._line import Line


def is_last(error: Error) -> bool:
    """Whether it says that this side hung up, which no new attempt can mend."""
    return error.code is grpc.StatusCode.CANCELLED and not error.is_transient


async def test_a_task_is_cancelled_also_as_its_answer_comes() -> None:
    answer = asyncio.get_running_loop().create_future()
    waits = asyncio.create_task(settled(answer, 60))
    await asyncio.sleep(0)
    answer.set_result("here")
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits


async def test_closing_a_client_ends_what_goes_on(own_server: Server) -> None:
    client = aio.connect(own_server.addr, key=own_server.key)
    session_id = await create(client)
    hears: asyncio.Queue[object] = asyncio.Queue()

    async def follow(stream: aio.Stream[Any]) -> None:
        async for item in stream:
            hears.put_nowait(item)

    follows = [
        asyncio.create_task(follow(stream))
        for stream in (
            client.watch(session_id=session_id, after_sequence=1),
            client.watch_sessions(after_revision=0),
            client.within(600).run(session_id=session_id, text=ENDLESS),
        )
    ]
    for _ in range(20):
        await hears.get()
    own_server.stand_still()
    calls = asyncio.ensure_future(client.get_session(session_id=session_id))
    reads = asyncio.ensure_future(client.read_file(session_id=session_id, path="none"))
    await asyncio.sleep(0)
    await client.close()
    own_server.signal(signal.SIGCONT)
    ended = await asyncio.gather(*follows, calls, reads, return_exceptions=True)
    assert all(isinstance(error, Error) and is_last(error) for error in ended), ended
    await refuses_all(client, session_id)


async def refuses_all(client: aio.Client, session_id: str) -> None:
    """A closed client says so, whatever it is asked for."""

    async def first(stream: aio.Stream[Any]) -> None:
        await anext(stream)

    asked: list[Callable[[], Awaitable[object]]] = [
        lambda: client.get_session(session_id=session_id),
        lambda: client.within(1).read_file(session_id=session_id, path="none"),
        lambda: client.upload_file(pb.UploadFileHeader(session_id=session_id, path="none"), b""),
        lambda: first(client.watch(session_id=session_id)),
        lambda: first(client.within(1).run(session_id=session_id, text="late")),
    ]
    for ask in asked:
        with pytest.raises(Error) as closed:
            await ask()
        assert is_last(closed.value)


async def test_closing_a_client_ends_a_pause(own_server: Server) -> None:
    client = aio.connect(own_server.addr, key=own_server.key)
    watch = client.watch(session_id=await create(client), after_sequence=0)
    await anext(watch)
    own_server.kill()

    async def rest() -> None:
        async for _ in watch:
            pass

    follows = asyncio.create_task(rest())
    # From now on it is mostly pauses, of up to ten seconds.
    await asyncio.sleep(1)
    await client.close()
    with pytest.raises(Error) as closed:
        await follows
    assert is_last(closed.value)


async def test_no_pause_outlives_what_it_is_for() -> None:
    began, line = time.monotonic(), Line()
    pauses = asyncio.gather(wait(line, 60), asyncio.to_thread(_sync.wait, line, 60))
    await asyncio.sleep(0.1)
    line.hang_up()
    await pauses
    await wait(line, 60)
    assert time.monotonic() - began < 60


async def test_a_stream_is_cancelled(client: aio.Client) -> None:
    session_id = await create(client)
    watch = client.watch(session_id=session_id, after_sequence=0)
    assert (await anext(watch)).WhichOneof("kind") == "bookmark"

    async def rest() -> None:
        async for _ in watch:
            pass

    follows = asyncio.create_task(rest())
    await client.send_message(session_id=session_id, text=ENDLESS)
    watch.cancel()
    with pytest.raises(Error) as cancelled:
        await follows
    assert is_last(cancelled.value)
    assert [event async for event in watch] == []
    assert (await client.interrupt_turn(session_id=session_id)).HasField("turn"), "its turn goes on"


def test_threads_are_told_that_their_client_is_closed(own_server: Server) -> None:
    client = agentruntime.connect(own_server.addr, key=own_server.key)
    session_id = client.create_session(agent="scripted").session.session_id
    hears: SimpleQueue[object] = SimpleQueue()

    def follow(stream: agentruntime.Stream[Any]) -> None:
        for item in stream:
            hears.put(item)

    with ThreadPoolExecutor() as threads:
        follows = [
            threads.submit(follow, stream)
            for stream in (
                client.watch(session_id=session_id, after_sequence=1),
                client.within(600).run(session_id=session_id, text=ENDLESS),
            )
        ]
        for _ in range(20):
            hears.get()
        own_server.kill()
        # Its pauses are longer than those of a call that gives up.
        with pytest.raises(Error):
            client.get_session(session_id=session_id)
        client.close()
        ended = [follows.exception() for follows in follows]
    assert all(isinstance(error, Error) and is_last(error) for error in ended), ended
    for ask in (
        lambda: client.within(1).get_session(session_id=session_id),
        lambda: client.read_file(session_id=session_id, path="none"),
        lambda: client.upload_file(pb.UploadFileHeader(session_id=session_id, path="none"), b""),
        lambda: next(client.watch(session_id=session_id)),
    ):
        with pytest.raises(Error) as closed:
            ask()
        assert is_last(closed.value)
    # What ends it ends its turn too.
    own_server.start()


def hang_up(stream: agentruntime.Stream[Any], when: Callable[[], bool], after: float = 0) -> None:
    """Another thread hangs up on the stream, so long after this came about."""

    def cancel() -> None:
        while not when():
            time.sleep(0.01)
        time.sleep(after)
        stream.cancel()

    threading.Thread(target=cancel, daemon=True).start()


def test_another_thread_hangs_up(server: Server) -> None:
    with agentruntime.connect(server.addr, key=server.key) as client:
        session_id = client.create_session(agent="scripted").session.session_id
        watch = client.watch(session_id=session_id, after_sequence=0)
        seen: list[pb.SessionEvent] = []
        # Once while a read waits: after what is there nothing happens in this session. Once while events come.
        hang_up(watch, lambda: len(seen) >= 3, after=0.2)
        with pytest.raises(Error) as cancelled:
            seen.extend(watch)
        assert is_last(cancelled.value)
        assert [event.WhichOneof("kind") for event in seen].count("bookmark") == 1, "it did not wait for the second"
        assert list(watch) == []
        run, blocks = client.run(session_id=session_id, text=ENDLESS), list[pb.Block]()
        hang_up(run, lambda: len(blocks) >= 20)
        with pytest.raises(Error) as cancelled:
            blocks.extend(run)
        assert is_last(cancelled.value)
        assert client.interrupt_turn(session_id=session_id).HasField("turn"), "its turn goes on"

"""How asyncio waits. `_sync` has the same names for threads; nothing else of the client differs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Generic, TypeVar

import grpc
from grpc import aio

from ._line import Line
from .errors import Error

Q = TypeVar("Q")
A = TypeVar("A")
Channel = aio.Channel
Cancelled = asyncio.CancelledError


def channel(address: str, credentials: grpc.ChannelCredentials | None, options: Sequence[tuple[str, int]]) -> Channel:
    """A connection, made when it is needed."""
    if credentials is None:
        return aio.insecure_channel(address, options)
    return aio.secure_channel(address, credentials, options)


async def settled(awaited: Awaitable[A], seconds: float | None = None) -> A:
    """What this comes to; after so many seconds a `TimeoutError`.

    Whoever is cancelled here is cancelled: `asyncio.wait_for` of Python 3.11 goes on if the result is just there. And
    if it is not this task but the call that is cancelled, somebody hung up, which is an `Error`.
    """
    task = asyncio.ensure_future(awaited)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            raise TimeoutError
        if task.cancelled():
            raise Error.of_hanging_up()
        return task.result()
    finally:
        if not task.cancel() and not task.cancelled():
            # What nobody asks for would be logged.
            task.exception()


async def wait(line: Line, seconds: float) -> None:
    """Waits so long, unless somebody hangs up."""
    woken = asyncio.Event()
    with line.ends(woken.set):
        try:
            await settled(woken.wait(), seconds)
        except TimeoutError:
            return


class Frames(Generic[A]):
    """The responses of a stream, one after the other."""

    def __init__(self, call: aio.UnaryStreamCall[Q, A], silence: float | None) -> None:
        self._call = call
        self._silence = silence

    def __aiter__(self) -> Frames[A]:
        return self

    async def __anext__(self) -> A:
        try:
            response = await settled(self._call.read(), self._silence)
        except TimeoutError:
            raise Error(grpc.StatusCode.DEADLINE_EXCEEDED, "the server has been silent for too long") from None
        except grpc.RpcError as error:
            raise Error.of(error) from error
        if response is aio.EOF:
            raise StopAsyncIteration
        return response  # type: ignore[return-value]

    def cancel(self) -> None:
        """Hangs up; after the end nothing."""
        self._call.cancel()

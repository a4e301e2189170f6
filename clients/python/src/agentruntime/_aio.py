"""How asyncio waits. `_sync` has the same names for threads; nothing else of the client differs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Generic, TypeVar

import grpc
from grpc import aio

from .errors import Error

Q = TypeVar("Q")
A = TypeVar("A")
Channel = aio.Channel
sleep = asyncio.sleep
Cancelled = asyncio.CancelledError


def channel(address: str, credentials: grpc.ChannelCredentials | None, options: Sequence[tuple[str, int]]) -> Channel:
    """A connection, made when it is needed."""
    if credentials is None:
        return aio.insecure_channel(address, options)
    return aio.secure_channel(address, credentials, options)


class Frames(Generic[A]):
    """The responses of a stream, one after the other."""

    def __init__(self, call: aio.UnaryStreamCall[Q, A], silence: float | None) -> None:
        self._call = call
        self._silence = silence

    def __aiter__(self) -> Frames[A]:
        return self

    async def __anext__(self) -> A:
        try:
            response = await asyncio.wait_for(self._call.read(), self._silence)
        except asyncio.TimeoutError:
            raise Error(grpc.StatusCode.DEADLINE_EXCEEDED, "the server has been silent for too long") from None
        except grpc.RpcError as error:
            raise Error.of(error) from None
        if response is aio.EOF:
            raise StopAsyncIteration
        return response  # type: ignore[return-value]

    def cancel(self) -> None:
        """Hangs up; after the end nothing."""
        self._call.cancel()

"""How threads wait. `_aio` has the same names for asyncio; nothing else of the client differs."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import grpc

from ._line import Line
from .errors import Error

A = TypeVar("A")
Channel = grpc.Channel
Cancelled = grpc.FutureCancelledError


def channel(address: str, credentials: grpc.ChannelCredentials | None, options: Sequence[tuple[str, int]]) -> Channel:
    """A connection, made when it is needed."""
    if credentials is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, credentials, options)


def settled(result: A) -> A:
    """What it came to: a thread has waited already."""
    return result


def wait(line: Line, seconds: float) -> None:
    """Waits so long, unless somebody hangs up."""
    woken = threading.Event()
    with line.ends(woken.set):
        woken.wait(seconds)


class Frames(Generic[A]):
    """The responses of a stream, one after the other."""

    def __init__(self, call: Any, silence: float | None) -> None:
        self._call = call
        self._changed = threading.Condition()
        self._waits_since: float | None = None
        self._is_silent = self._is_over = False
        if silence is not None:
            # A read cannot be told how long to wait: somebody else hangs up.
            threading.Thread(target=self._guard, args=(silence,), daemon=True).start()

    def __iter__(self) -> Frames[A]:
        return self

    def __next__(self) -> A:
        self._wait(time.monotonic())
        try:
            response: A = next(self._call)
            return response
        except grpc.RpcError as error:
            if self._is_silent:
                silent = "the server has been silent for too long"
                raise Error(grpc.StatusCode.DEADLINE_EXCEEDED, silent) from None
            raise Error.of(error) from error
        finally:
            self._wait(None)

    def cancel(self) -> None:
        """Hangs up; after the end nothing."""
        with self._changed:
            self._is_over = True
            self._changed.notify()
        self._call.cancel()

    def _wait(self, since: float | None) -> None:
        with self._changed:
            self._waits_since = since

    def _guard(self, silence: float) -> None:
        with self._changed:
            while not self._is_over:
                waited = 0.0 if self._waits_since is None else time.monotonic() - self._waits_since
                if waited >= silence:
                    self._is_silent = True
                    self._call.cancel()
                    return
                self._changed.wait(silence - waited)

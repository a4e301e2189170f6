"""The one error of the client: what the server said, decoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from . import pb

_CUT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}


@dataclass(frozen=True)
class FieldViolation:
    """A field that was refused: its path in the request, and what is wrong with it."""

    field: str
    description: str


@dataclass(eq=False)
class Error(Exception):
    """Why a call, a stream or a turn failed."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    """As `ErrorReason` spells it, without its prefix; empty when the answer is not the server's own."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the reason tells beside itself; `ErrorReason` has the keys."""
    field_violations: tuple[FieldViolation, ...] = ()
    retry_after: float | None = None
    """Seconds that the server wants to be left alone."""
    _is_final: bool = field(default=False, repr=False)

    def __str__(self) -> str:
        head = f"{self.message} [{self.reason or self.code.name}]"
        return "\n  ".join([head, *(f"{bad.field}: {bad.description}" for bad in self.field_violations)])

    @property
    def is_transient(self) -> bool:
        """Whether the same call, made again, may succeed: the server says so, or it was the connection that failed."""
        if self._is_final:
            return False
        if self.retry_after is not None or self.reason in ("RATE_LIMITED", "TOO_MANY_WATCHERS"):
            return True
        return self.code is grpc.StatusCode.UNAVAILABLE if self.reason else self.code in _CUT

    @classmethod
    def of(cls, error: grpc.RpcError) -> Error:
        """What a failed call tells. The call's own error stays its cause."""
        # Both kinds of call tell it by these names; the base class has none of them.
        call: Any = error
        code, message, trailers = call.code(), call.details(), call.trailing_metadata()
        decoded = cls(code, message or code.name)
        decoded.__cause__ = error
        for detail in _details(trailers or ()):
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo.FromString(detail.value)
                decoded.reason, decoded.metadata = info.reason, dict(info.metadata)
            elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                bad = error_details_pb2.BadRequest.FromString(detail.value)
                decoded.field_violations = tuple(FieldViolation(v.field, v.description) for v in bad.field_violations)
            elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                retry = error_details_pb2.RetryInfo.FromString(detail.value)
                decoded.retry_after = retry.retry_delay.ToTimedelta().total_seconds()
        return decoded

    @classmethod
    def of_hanging_up(cls) -> Error:
        """Why there is no more of what this side has ended."""
        return cls(grpc.StatusCode.CANCELLED, "the stream was cancelled, or its client closed", _is_final=True)

    @classmethod
    def of_turn(cls, turn: pb.Turn) -> Error:
        """Why a turn did not complete."""
        told = turn.error
        reason = pb.ErrorReason.Name(told.reason).removeprefix("ERROR_REASON_") if told.reason else ""
        ended = pb.TurnStatus.Name(turn.status).removeprefix("TURN_STATUS_")
        message = f"the turn ended as {ended}" + (f": {told.message}" if told.message else "")
        return cls(grpc.StatusCode.ABORTED, message, reason, dict(told.metadata))


def _details(trailers: Iterable[Any]) -> Iterator[AnyMessage]:
    for key, value in trailers:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                yield from status_pb2.Status.FromString(value).details
            except DecodeError:
                return

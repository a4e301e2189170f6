"""What watches of the client for asyncio bring, and what it folds to."""

from __future__ import annotations

from contextlib import aclosing

from agentruntime import State, aio, pb


async def snapshot(session: aio.Session) -> tuple[State, int]:
    """What a reload shows, and its sequence."""
    state = State()
    async for event in session.watch():
        state.apply(event)
        if event.WhichOneof("kind") == "snapshot_complete":
            return state, event.sequence
    raise AssertionError("no snapshot")


async def events_to(session: aio.Session, head: int, after: int | None = 0) -> list[pb.SessionEvent]:
    """What a watch brings up to this sequence."""
    events = []
    async with aclosing(session.watch(after=after)) as watch:
        async for event in watch:
            events.append(event)
            if event.sequence >= head:
                break
    return events


def fold(*parts: list[pb.SessionEvent]) -> pb.SessionState:
    state = State()
    for event in [event for part in parts for event in part]:
        state.apply(event)
    return state.value

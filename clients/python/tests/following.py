"""What watches of the client for asyncio bring, and what it folds to."""

from __future__ import annotations

from contextlib import aclosing

from agentruntime import State, aio, pb


async def create(client: aio.Client) -> str:
    """The id of a new session of the scripted agent."""
    return (await client.create_session(agent="scripted")).session.session_id


async def snapshot(client: aio.Client, session_id: str) -> tuple[State, int]:
    """What a reload shows, and its sequence."""
    state = State()
    async for event in client.watch(session_id=session_id):
        state.apply(event)
        if event.WhichOneof("kind") == "snapshot_complete":
            return state, event.sequence
    raise AssertionError("no snapshot")


async def events_to(client: aio.Client, session_id: str, head: int, after: int = 0) -> list[pb.SessionEvent]:
    """What a watch brings up to this sequence."""
    events = []
    async with aclosing(client.watch(session_id=session_id, after_sequence=after)) as watch:
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

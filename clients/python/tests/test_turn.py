"""Turns that last for longer than the server remembers who asked for them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from following import create
from support import ENDLESS, LONG, Proxy, Server, script

import agentruntime
from agentruntime import aio, pb


class Forgets:
    """A connection after more than a day: turns that are taken up again are named by an id that nobody remembers."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.asked = 0
        self._call = call

    def __call__(self, request: pb.RunTurnRequest, **how: Any) -> Any:
        if request.HasField("after_sequence"):
            self.asked += 1
            request = deepcopy(request)
            request.request_id = "of-the-day-before-yesterday"
        return self._call(request, **how)


async def test_a_turn_is_followed_to_its_end_among_others(
    client: aio.Client, server: Server, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = await create(client)

    async def send(text: str, busy_policy: pb.BusyPolicy.ValueType = pb.BUSY_POLICY_QUEUE) -> str:
        sent = await client.send_message(session_id=session_id, text=text, busy_policy=busy_policy)
        return sent.turn.turn_id

    await send(ENDLESS)
    got: list[pb.SessionEvent] = []
    turn_id = between = ""
    async with aio.connect(proxy.addr, key=server.key) as over_proxy:
        forgets = Forgets(over_proxy.sessions.RunTurn)
        monkeypatch.setattr(over_proxy.sessions, "RunTurn", forgets)
        last = script({"say": "At last."})
        async for event in over_proxy.run_turn(session_id=session_id, text=last, busy_policy=pb.BUSY_POLICY_QUEUE):
            got.append(event)
            if event.HasField("turn_queued"):
                turn_id = event.turn_queued.turn.turn_id
                proxy.cut()
            elif forgets.asked and not between:
                # A whole turn of another comes before it, and one waits behind it.
                between = await send(script({"say": "Me first."}), pb.BUSY_POLICY_INTERRUPT)
                await send(script({"say": "Too late."}))
    assert forgets.asked == 1
    turns = {block.block_id: block.turn_id async for block in client.list_blocks(session_id=session_id)}
    started = {event.block_start.block.turn_id for event in got if event.HasField("block_start")}
    changed = {event.turn_updated.turn.turn_id for event in got if event.HasField("turn_updated")}
    assert started == changed == {turn_id}
    deltas = [
        (turns[event.block_delta.block_id], event.block_delta.delta) for event in got if event.HasField("block_delta")
    ]
    assert "".join(delta for of, delta in deltas if of == turn_id) == "At last."
    assert between
    assert between not in {of for of, _ in deltas}
    assert got[-1].turn_updated.turn.status == pb.TURN_STATUS_COMPLETED


def test_threads_follow_a_turn_to_its_end(server: Server, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    with agentruntime.connect(proxy.addr, key=server.key) as client:
        session_id = client.create_session(agent="scripted").session.session_id
        forgets = Forgets(client.sessions.RunTurn)
        monkeypatch.setattr(client.sessions, "RunTurn", forgets)
        said = ""
        for block in client.run(session_id=session_id, text=LONG):
            if forgets.asked == 0 and block.assistant_text.text:
                proxy.cut()
            said = block.assistant_text.text
        assert forgets.asked == 1
        assert said == "".join(f"{number:019} " for number in range(1, 401))

"""How a connection is made, or is not."""

from __future__ import annotations

import grpc
import pytest
from following import create
from support import Proxy, Server

import agentruntime
from agentruntime import Error, aio


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel", "a\x00b"])
def test_a_key_that_no_header_can_carry_is_refused_at_once(key: str) -> None:
    for connect in (agentruntime.connect, aio.connect):
        with pytest.raises(Error, match="the key") as refused:
            connect("127.0.0.1:1", key=key)
        assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_server_that_hesitates_is_waited_for(server: Server, proxy: Proxy) -> None:
    # For longer than the pauses between attempts.
    proxy.hesitates = 1.5
    async with aio.connect(proxy.addr, key=f"  {server.key}\n") as client:
        assert await create(client)
    with agentruntime.connect(proxy.addr, key=server.key) as threads:
        assert threads.create_session(agent="scripted").session.session_id
    assert proxy.accepted == 2

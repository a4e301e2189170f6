"""One server for all tests that do not break it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support import Proxy, Server

from agentruntime import aio


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that lives as long as the tests."""
    server = Server(tmp_path_factory.mktemp("data"))
    yield server
    server.end()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that a test may kill."""
    server = Server(tmp_path / "data")
    yield server
    server.end()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """A connection to the server that a test may cut."""
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[aio.Client]:
    """The client for asyncio."""
    async with aio.connect(server.addr, key=server.key) as client:
        yield client

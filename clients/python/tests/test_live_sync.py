"""The client for threads against a real server: the same client, but for how it waits."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from support import ENDLESS, LONG, Proxy, Server, script

import agentruntime
from agentruntime import Client, Error, State, pb

NUMBERS = "".join(f"{number:019} " for number in range(1, 401))


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with agentruntime.connect(server.addr, key=server.key) as client:
        yield client


def create(client: Client) -> str:
    """The id of a new session of the scripted agent."""
    return client.create_session(agent="scripted").session.session_id


def folded(client: Client, session_id: str, head: int, *cuts: int) -> pb.SessionState:
    """What watches fold to that are cut there."""
    state, after = State(), 0
    for end in [*cuts, head]:
        for event in client.watch(session_id=session_id, after_sequence=after):
            state.apply(event)
            after = event.sequence
            if after >= end:
                break
    return state.value


def snapshot(client: Client, session_id: str) -> pb.SessionState:
    state = State()
    for event in client.watch(session_id=session_id):
        state.apply(event)
        if event.WhichOneof("kind") == "snapshot_complete":
            break
    return state.value


def test_it_is_made_of_the_one_for_asyncio() -> None:
    tool = Path(__file__).parents[1] / "tools" / "unasync.py"
    assert subprocess.run([sys.executable, str(tool), "--check"], check=False).returncode == 0


def test_a_session_answers_and_shows_its_files(client: Client) -> None:
    files = [pb.FileContent(path="a.txt", content=b"hi")]
    session_id = client.create_session(agent="scripted", workspace_files=files).session.session_id
    blocks = client.run(session_id=session_id, text=script({"run": "echo 1 > b"}, {"say": "Done."}))
    texts = {block.block_id: block.assistant_text.text for block in blocks}
    assert [text for text in texts.values() if text] == ["Done."]
    assert [file.path for file in client.list_files(session_id=session_id)] == ["a.txt", "b"]
    assert client.ask(session_id=session_id, text=script({"say": "Grüße"})) == "Grüße"
    big = random.randbytes(2 * 1024 * 1024)
    client.upload_file(pb.UploadFileHeader(session_id=session_id, path="big"), big)
    assert client.read_file(session_id=session_id, path="big") == big


def test_a_turn_survives_kill_and_restart(own_server: Server) -> None:
    with agentruntime.connect(own_server.addr, key=own_server.key) as client:
        session_id = create(client)
        text, was_killed = "", False
        for block in client.run(session_id=session_id, text=LONG):
            text = block.assistant_text.text
            if text and not was_killed:
                assert block.state == pb.BLOCK_STATE_STREAMING
                own_server.kill()
                own_server.start()
                was_killed = True
        assert was_killed
        assert text == NUMBERS
        state = snapshot(client, session_id)
        assert folded(client, session_id, state.session.sequence) == state


def test_hanging_up_ends_the_stream(client: Client, server: Server, proxy: Proxy) -> None:
    session_id = create(client)
    with agentruntime.connect(proxy.addr, key=server.key) as over_proxy:
        for _ in over_proxy.run(session_id=session_id, text=ENDLESS):
            break
        noisy = 0
        while noisy <= 6:
            sent, sequence = proxy.answered, client.get_session(session_id=session_id).session.sequence
            time.sleep(1)
            if client.get_session(session_id=session_id).session.sequence >= sequence + 2:
                if proxy.answered - sent < 200:
                    break
                noisy += 1
        else:
            raise AssertionError("its events still come")
        client.interrupt_turn(session_id=session_id)


def test_a_call_whose_answer_is_lost_is_made_once(client: Client, server: Server, proxy: Proxy) -> None:
    session_id = create(client)

    def messages() -> list[str]:
        return [b.block_id for b in client.list_blocks(session_id=session_id) if b.HasField("user_message")]

    with agentruntime.connect(proxy.addr, key=server.key) as over_proxy:
        over_proxy.get_session(session_id=session_id)
        proxy.loses_answers = True

        def recover() -> None:
            while not messages():
                time.sleep(0.02)
            proxy.recover()

        recovers = threading.Thread(target=recover)
        recovers.start()
        sent = over_proxy.send_message(session_id=session_id, text=script({"say": "once"}))
        recovers.join()
    assert messages() == [sent.turn.block_id]


def test_what_is_refused_says_why(server: Server) -> None:
    with agentruntime.connect(server.addr, key="wrong") as stranger:
        with pytest.raises(Error) as refused:
            create(stranger)
        assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.UNAUTHENTICATED, "AUTH_INVALID")
        assert isinstance(refused.value.__cause__, grpc.RpcError), "what else the answer told is kept"
        with pytest.raises(Error):
            next(stranger.watch(session_id="ses_1"))


def test_a_deadline_is_kept(own_server: Server) -> None:
    with agentruntime.connect(own_server.addr, key=own_server.key) as client:
        session_id = create(client)
        own_server.stand_still()
        try:
            began = time.monotonic()
            with pytest.raises(Error) as late:
                client.within(0.5).get_session(session_id=session_id)
            assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert time.monotonic() - began > 0.4
            with pytest.raises(Error) as late:
                client.within(0.5).ask(session_id=session_id, text="late")
            assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        finally:
            own_server.signal(signal.SIGCONT)


def test_a_source_that_cannot_be_read_leaves_no_file(client: Client, tmp_path: Path) -> None:
    session_id = create(client)
    with pytest.raises(IsADirectoryError):
        client.upload_file(pb.UploadFileHeader(session_id=session_id, path="broken"), tmp_path)
    with pytest.raises(Error) as missing:
        client.read_file(session_id=session_id, path="broken")
    assert missing.value.reason == "FILE_NOT_FOUND"

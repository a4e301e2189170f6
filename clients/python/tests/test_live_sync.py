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
from agentruntime import Client, Error, Session, State, pb

NUMBERS = "".join(f"{number:019} " for number in range(1, 401))


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with agentruntime.connect(server.addr, key=server.key) as client:
        yield client


def folded(session: Session, head: int, *cuts: int) -> pb.SessionState:
    """What watches fold to that are cut there."""
    state, after = State(), 0
    for end in [*cuts, head]:
        for event in session.watch(after=after):
            state.apply(event)
            after = event.sequence
            if after >= end:
                break
    return state.value


def snapshot(session: Session) -> pb.SessionState:
    state = State()
    for event in session.watch():
        state.apply(event)
        if event.WhichOneof("kind") == "snapshot_complete":
            break
    return state.value


def test_it_is_made_of_the_one_for_asyncio() -> None:
    tool = Path(__file__).parents[1] / "tools" / "unasync.py"
    assert subprocess.run([sys.executable, str(tool), "--check"], check=False).returncode == 0


def test_a_session_answers_and_shows_its_files(client: Client) -> None:
    session = client.create(agent="scripted", workspace_files={"a.txt": b"hi"})
    texts = {b.block_id: b.assistant_text.text for b in session.run(script({"run": "echo 1 > b"}, {"say": "Done."}))}
    assert [text for text in texts.values() if text] == ["Done."]
    assert [file.path for file in session.files()] == ["a.txt", "b"]
    assert session.ask(script({"say": "Grüße"})) == "Grüße"
    big = random.randbytes(2 * 1024 * 1024)
    session.write_file("big", big)
    assert session.read_file("big") == big


def test_a_turn_survives_kill_and_restart(own_server: Server) -> None:
    with agentruntime.connect(own_server.addr, key=own_server.key) as client:
        session = client.create(agent="scripted")
        text = ""
        for change, block in enumerate(session.run(LONG)):
            text = block.assistant_text.text
            if change == 12:
                own_server.kill()
                own_server.start()
        assert text == NUMBERS
        state = snapshot(session)
        assert folded(session, state.session.sequence) == state


def test_hanging_up_ends_the_stream(client: Client, server: Server, proxy: Proxy) -> None:
    session = client.create(agent="scripted")
    with agentruntime.connect(proxy.addr, key=server.key) as over_proxy:
        for _ in over_proxy.session(session.id).run(ENDLESS):
            break
        noisy = 0
        while noisy <= 3:
            sent, sequence = proxy.answered, session.get().session.sequence
            time.sleep(1)
            if session.get().session.sequence >= sequence + 2:
                if proxy.answered - sent < 200:
                    break
                noisy += 1
        else:
            raise AssertionError("its events still come")
        session.interrupt()


def test_a_call_whose_answer_is_lost_is_made_once(client: Client, server: Server, proxy: Proxy) -> None:
    session = client.create(agent="scripted")
    with agentruntime.connect(proxy.addr, key=server.key) as over_proxy:
        same = over_proxy.session(session.id)
        same.get()
        proxy.loses_answers = True
        threading.Timer(0.7, proxy.recover).start()
        sent = same.send(script({"say": "once"}))
    said = [block.block_id for block in session.blocks() if block.HasField("user_message")]
    assert said == [sent.turn.block_id]


def test_what_is_refused_says_why(server: Server) -> None:
    with agentruntime.connect(server.addr, key="wrong") as stranger:
        with pytest.raises(Error) as refused:
            stranger.create(agent="scripted")
        assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.UNAUTHENTICATED, "AUTH_INVALID")
        with pytest.raises(Error):
            next(stranger.session("ses_1").watch())


def test_a_deadline_is_kept(own_server: Server) -> None:
    with agentruntime.connect(own_server.addr, key=own_server.key) as client:
        session = client.create(agent="scripted")
        own_server.stand_still()
        try:
            began = time.monotonic()
            with pytest.raises(Error) as late:
                client.within(0.5).get(session.id)
            assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert time.monotonic() - began > 0.4
            with pytest.raises(Error) as late:
                session.ask("late", timeout=0.5)
            assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        finally:
            own_server.signal(signal.SIGCONT)


def test_a_source_that_cannot_be_read_leaves_no_file(client: Client, tmp_path: Path) -> None:
    session = client.create(agent="scripted")
    with pytest.raises(IsADirectoryError):
        session.upload("broken", tmp_path)
    with pytest.raises(Error) as missing:
        session.read_file("broken")
    assert missing.value.reason == "FILE_NOT_FOUND"

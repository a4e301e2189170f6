"""The client for asyncio against a real server."""

from __future__ import annotations

import asyncio
import io
import random
import signal
import subprocess
import tarfile
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import grpc
import pytest
from following import events_to, fold, snapshot
from support import ENDLESS, LONG, Proxy, Server, script

from agentruntime import Error, State, aio, pb


def numbers(last: int) -> str:
    """What a count says."""
    return "".join(f"{number:019} " for number in range(1, last + 1))


async def ends(session: aio.Session, last: str) -> list[tuple[str, int]]:
    """How turns ended, up to this one."""
    ended = []
    async with aclosing(session.watch(after=0)) as watch:
        async for event in watch:
            turn = event.turn_updated.turn
            if turn.HasField("end_time"):
                ended.append((turn.turn_id, int(turn.status)))
                if turn.turn_id == last:
                    break
    return ended


async def hung_up(session: aio.Session, proxy: Proxy) -> None:
    """While the turn goes on, nothing more is sent to who hung up.

    What is on its way may still come; a stream that nobody reads goes on for longer, up to its window of 64 KiB.
    """
    noisy = 0
    while noisy <= 3:
        sent, sequence = proxy.answered, (await session.get()).session.sequence
        # Without watchers four commits a second are made.
        await asyncio.sleep(1)
        if (await session.get()).session.sequence >= sequence + 2:
            if proxy.answered - sent < 200:
                await session.interrupt()
                return
            noisy += 1
    raise AssertionError("its events still come")


async def test_a_session_answers_and_shows_its_files(client: aio.Client) -> None:
    session = await client.create(agent="scripted", name="first", labels={"a": "1"}, workspace_files={"a.txt": b"hi"})
    assert session.record.name == "first"
    message = script(
        {"think": "Easy."}, {"say": "One, ", "size": 2}, {"run": "echo hello > b.txt; cat b.txt"}, {"say": "two."}
    )
    kinds: dict[str, str] = {}
    async for block in session.run(message):
        kinds[block.block_id] = block.WhichOneof("content") or ""
    assert list(kinds.values()) == [
        "user_message",
        "thinking",
        "assistant_text",
        "tool_use",
        "tool_result",
        "assistant_text",
    ]
    assert [file.path async for file in session.files()] == ["a.txt", "b.txt"]
    assert await session.read_file("b.txt") == b"hello\n"
    listed = [block async for block in session.blocks()]
    assert [block.block_id for block in listed] == list(kinds)
    newest = [block.block_id async for block in session.blocks(newest_first=True)]
    assert newest == list(reversed(kinds))
    assert await session.ask(script({"say": "Grüße"}, {"say": "😀"})) == "Grüße\n\n😀"
    assert session.id in [record.session_id async for record in client.list(labels={"a": "1"})]
    assert (await client.get(session.id)).record.status == pb.SESSION_STATUS_IDLE
    assert (await client.info()).version


async def test_a_long_text_comes_whole(client: aio.Client) -> None:
    session = await client.create(agent="scripted")
    text = await session.ask(script({"count": 20_000, "size": 20}))
    assert text == numbers(20_000)


async def test_files_go_up_and_down(client: aio.Client, tmp_path: Path) -> None:
    session = await client.create(agent="scripted")
    big = random.randbytes(3 * 1024 * 1024 + 1)
    assert (await session.write_file("dir/big", big, mode=0o755)).size_bytes == len(big)
    assert await session.read_file("dir/big") == big
    assert await session.read_file("dir/big", offset=5, limit=10) == big[5:15]
    (tmp_path / "source").write_bytes(big)
    assert (await session.upload("from-disk", tmp_path / "source")).file.size_bytes == len(big)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("x/y")
        member.size = 2
        tar.addfile(member, io.BytesIO(b"ok"))
    assert (await session.upload("unpacked", archive.getvalue(), unpack="tar.gz")).file_count == 1
    assert await session.read_file("unpacked/x/y") == b"ok"
    with pytest.raises(Error) as refused:
        await session.write_file("dir/big", b"", if_sha256="-")
    assert refused.value.reason == "ETAG_MISMATCH"
    await session.delete_file("dir/big")
    assert [file.path async for file in session.files("dir")] == []


async def test_a_permission_is_asked_for_and_given(client: aio.Client) -> None:
    session = await client.create(agent="scripted")
    asks = script({"ask": {"tool": "Bash", "input": {"command": "ls"}}, "then": [{"say": "It ran."}]})
    accepted = await session.send(asks)
    said = State()
    async with aclosing(session.watch(after=accepted.sequence)) as watch:
        async for event in watch:
            said.apply(event)
            if event.WhichOneof("kind") == "permission_requested":
                waits = await session.get()
                assert [ask.permission_id for ask in waits.open_permissions] == [
                    event.permission_requested.permission.permission_id
                ]
                answer = await session.resolve_permission(waits.open_permissions[0].permission_id, "allow_once")
                assert answer.permission.resolution.outcome == pb.INPUT_OUTCOME_ALLOWED
            if event.turn_updated.turn.status == pb.TURN_STATUS_COMPLETED:
                break
    assert [b.assistant_text.text for b in said.value.blocks if b.HasField("assistant_text")] == ["It ran."]
    with pytest.raises(Error) as late:
        await session.resolve_permission(waits.open_permissions[0].permission_id, "reject_once")
    assert late.value.reason == "ALREADY_RESOLVED"
    assert late.value.metadata["option_id"] == "allow_once"


async def test_an_interrupt_ends_the_turn(client: aio.Client) -> None:
    session = await client.create(agent="scripted")
    sent = await session.send(ENDLESS)
    stopped = await session.interrupt(sent.turn.turn_id)
    assert stopped is not None
    assert stopped.turn_id == sent.turn.turn_id
    assert await ends(session, sent.turn.turn_id) == [(sent.turn.turn_id, pb.TURN_STATUS_INTERRUPTED)]
    assert await session.interrupt() is None, "nothing is left to stop"


async def test_messages_wait_their_turn(client: aio.Client) -> None:
    session = await client.create(agent="scripted")
    active = (await session.send(ENDLESS)).turn.turn_id
    waits = (await session.send(script({"say": "later"}), busy_policy=pb.BUSY_POLICY_QUEUE)).turn.turn_id
    gone = (await session.send(script({"say": "never"}), busy_policy=pb.BUSY_POLICY_QUEUE)).turn.turn_id
    assert (await session.cancel(gone)).status == pb.TURN_STATUS_CANCELLED
    assert [turn.turn_id for turn in (await session.get()).session.queued_turns] == [waits]
    first = (await session.send(script({"say": "now"}), busy_policy=pb.BUSY_POLICY_INTERRUPT)).turn.turn_id
    assert await ends(session, waits) == [
        (gone, pb.TURN_STATUS_CANCELLED),
        (active, pb.TURN_STATUS_INTERRUPTED),
        (first, pb.TURN_STATUS_COMPLETED),
        (waits, pb.TURN_STATUS_COMPLETED),
    ]
    assert [turn.turn_id async for turn in session.turns()] == [active, waits, gone, first]


async def test_a_question_is_answered(client: aio.Client) -> None:
    session = await client.create(agent="scripted")
    choices = [{"label": "red", "description": "As fire."}, {"label": "blue", "description": "As the sea."}]
    question = {"question": "Which?", "header": "Colour", "options": choices, "multiSelect": False}
    asked = ""
    async for event in session.run_turn(script({"question": [question], "then": [{"say": "So be it."}]})):
        if event.WhichOneof("kind") == "question_requested":
            asked = event.question_requested.question.question_id
            answered = await session.answer_question(asked, [pb.QuestionAnswer(choices=["blue"])])
            assert answered.resolution.outcome == pb.INPUT_OUTCOME_ANSWERED
    state, _ = await snapshot(session)
    assert [list(answer.choices) for answer in state.value.questions[0].resolution.answers] == [["blue"]]
    assert state.value.blocks[-1].assistant_text.text == "So be it."
    with pytest.raises(Error) as late:
        await session.answer_question(asked)
    assert late.value.reason == "ALREADY_RESOLVED"


async def test_a_session_is_updated(client: aio.Client) -> None:
    session = await client.create(agent="scripted", name="before", labels={"a": "1"})
    etag = session.record.etag
    updated = await session.update(name="after", metadata={"n": 1.0}, etag=etag)
    assert (updated.name, updated.labels["a"], updated.metadata["n"]) == ("after", "1", 1.0)
    assert (await session.update(name="")).name == "", "a field can be cleared"
    with pytest.raises(Error) as stale:
        await session.update(name="lost", etag=etag)
    assert stale.value.reason == "ETAG_MISMATCH"
    state, head = await snapshot(session)
    assert fold(await events_to(session, head)) == state.value


async def test_a_profile_takes_effect(client: aio.Client) -> None:
    profile = pb.AgentProfile(name="greets", agent="scripted", environment={"GREETING": pb.Secret(value="hi")})
    request = pb.CreateProfileRequest(profile=profile)
    made = (await client.call(client.profiles.CreateProfile, request)).profile
    assert not request.request_id, "the caller's request stays as it was"
    assert made.revision == 1
    session = await client.create(profile_id=made.profile_id)
    outputs = [b.tool_result.text async for b in session.run(script({"run": "echo $GREETING"})) if b.tool_result.text]
    assert outputs[-1] == "hi\n"


async def test_a_turn_that_fails_is_an_error(client: aio.Client) -> None:
    session = await client.create(agent="scripted")
    with pytest.raises(Error, match="no luck") as failed:
        await session.ask(script({"error": "no luck"}))
    assert failed.value.code is grpc.StatusCode.ABORTED
    assert failed.value.reason == "AGENT_FAILED"


async def test_a_watch_survives_kill_and_restart(own_server: Server) -> None:
    async with aio.connect(own_server.addr, key=own_server.key) as client:
        session = await client.create(agent="scripted")
        seen: list[pb.SessionEvent] = []
        turn = [event async for event in _killing(own_server, session.run_turn(LONG), seen)]
        state, head = await snapshot(session)
        assert fold(seen).blocks == state.value.blocks
        assert state.value.blocks[-1].assistant_text.text == numbers(400)
        assert turn[-1].turn_updated.turn.status == pb.TURN_STATUS_COMPLETED
        assert fold(await events_to(session, head)) == state.value


async def _killing(
    server: Server, events: AsyncIterator[pb.SessionEvent], seen: list[pb.SessionEvent]
) -> AsyncIterator[pb.SessionEvent]:
    async for event in events:
        seen.append(event)
        yield event
        if len(seen) == 12:
            server.kill()
            await asyncio.sleep(0.3)
            server.start()


async def test_a_watch_in_the_background_survives_kill_and_restart(own_server: Server) -> None:
    async with aio.connect(own_server.addr, key=own_server.key) as client:
        session = await client.create(agent="scripted")
        live = State()

        async def follow() -> None:
            async for event in session.watch(bookmark_interval=1):
                live.apply(event)
                if any(turn.status == pb.TURN_STATUS_COMPLETED for turn in live.value.turns):
                    return

        follows = asyncio.create_task(follow())
        await session.send(LONG)
        for _ in range(2):
            await asyncio.sleep(0.4)
            own_server.kill()
            own_server.start()
        await asyncio.wait_for(follows, 120)
        head = live.value.session.sequence
        assert fold(await events_to(session, head)) == live.value


async def test_cuts_in_the_middle_of_a_turn_lose_nothing(client: aio.Client, server: Server, proxy: Proxy) -> None:
    async with aio.connect(proxy.addr, key=server.key) as over_proxy:
        session = over_proxy.session((await client.create(agent="scripted")).id)
        state, cuts, deltas = State(), 0, 0
        async for event in session.run_turn(LONG):
            state.apply(event)
            if event.WhichOneof("kind") == "block_delta":
                # The first one too, for a busy machine merges most of them.
                if deltas % 8 == 0:
                    proxy.cut()
                    cuts += 1
                deltas += 1
        assert cuts > 0
        assert state.value.blocks[-1].assistant_text.text == numbers(400)


async def test_hanging_up_ends_the_stream(client: aio.Client, server: Server, proxy: Proxy) -> None:
    session = await client.create(agent="scripted")
    async with aio.connect(proxy.addr, key=server.key) as over_proxy:
        same = over_proxy.session(session.id)
        events = same.run_turn(ENDLESS)
        async for event in events:
            if event.WhichOneof("kind") == "block_delta":
                break
        await events.aclose()
        await hung_up(session, proxy)


async def test_a_cancelled_task_hangs_up(client: aio.Client, server: Server, proxy: Proxy) -> None:
    session = await client.create(agent="scripted")
    async with aio.connect(proxy.addr, key=server.key) as over_proxy:
        asks = asyncio.create_task(over_proxy.session(session.id).ask(ENDLESS))
        await _until_messages(session, 1)
        asks.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asks
        await hung_up(session, proxy)


async def test_a_call_whose_answer_is_lost_is_made_once(client: aio.Client, server: Server, proxy: Proxy) -> None:
    session = await client.create(agent="scripted")
    async with aio.connect(proxy.addr, key=server.key) as over_proxy:
        same = over_proxy.session(session.id)
        await same.get()
        proxy.loses_answers = True
        sends = asyncio.create_task(same.send(script({"say": "once"})))
        await _until_messages(session, 1)
        proxy.recover()
        sent = await sends
    blocks = [block async for block in session.blocks()]
    assert [block.block_id for block in blocks if block.HasField("user_message")] == [sent.turn.block_id]


async def _until_messages(session: aio.Session, count: int) -> None:
    for _ in range(3000):
        blocks = [block async for block in session.blocks()]
        if sum(block.HasField("user_message") for block in blocks) == count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the message did not arrive")


async def test_a_repeated_request_id_gets_the_first_answer(client: aio.Client) -> None:
    first = await client.create(agent="scripted", request_id="mine")
    again = await client.create(agent="scripted", request_id="mine")
    assert first.id == again.id
    with pytest.raises(Error) as reused:
        await client.create(agent="scripted", name="another", request_id="mine")
    assert reused.value.reason == "REQUEST_ID_REUSED"


async def test_what_is_refused_says_why(client: aio.Client, server: Server) -> None:
    for key, reason in [("wrong", "AUTH_INVALID"), ("", "AUTH_MISSING")]:
        async with aio.connect(server.addr, key=key) as stranger:
            with pytest.raises(Error) as refused:
                await stranger.create(agent="scripted")
            assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason)
            with pytest.raises(Error) as refused:
                await anext(stranger.session("ses_1").watch())
            assert refused.value.reason == reason
    with pytest.raises(Error) as invalid:
        await client.create(agent="scripted", name="x" * 201)
    assert (invalid.value.reason, invalid.value.field_violations[0].field) == ("INVALID_FIELD", "name")
    with pytest.raises(Error) as missing:
        await client.get("ses_nowhere")
    assert (missing.value.reason, missing.value.metadata) == ("SESSION_NOT_FOUND", {"session_id": "ses_nowhere"})
    session = await client.create(agent="scripted")
    with pytest.raises(Error) as ahead:
        await anext(session.watch(after=1000))
    assert ahead.value.reason == "SEQUENCE_AHEAD"
    first = await anext(session.watch(after=1, uid="another-log"))
    assert first.WhichOneof("kind") == "snapshot_start", "a cursor of another log needs a snapshot"


async def test_a_deadline_is_kept(own_server: Server) -> None:
    async with aio.connect(own_server.addr, key=own_server.key) as client:
        session = await client.create(agent="scripted")
        own_server.stand_still()
        try:
            began = time.monotonic()
            with pytest.raises(Error) as late:
                await client.within(0.5).get(session.id)
            assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert time.monotonic() - began > 0.4
            for stream in (session.watch(timeout=0.5), session.run("late", timeout=0.5), client.watch(timeout=0.5)):
                with pytest.raises(Error) as late:
                    await anext(stream)
                assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        finally:
            own_server.signal(signal.SIGCONT)


async def test_a_call_waits_for_a_server_that_comes_back(own_server: Server) -> None:
    proxy = Proxy(own_server.port)
    async with aio.connect(proxy.addr, key=own_server.key) as client:
        session = await client.create(agent="scripted")
        proxy.refuses = 2
        proxy.cut()
        assert (await session.get()).session.session_id == session.id
        assert proxy.refuses == 0
        own_server.kill()
        with pytest.raises(Error) as gone:
            await session.get()
        assert gone.value.code is grpc.StatusCode.UNAVAILABLE
    proxy.close()


async def test_a_deleted_session_ends_its_watches(client: aio.Client) -> None:
    session = await client.create(agent="scripted")
    watch = session.watch(after=0)
    assert (await anext(watch)).WhichOneof("kind") == "bookmark"
    await session.stop()
    await session.delete()
    rest = [event async for event in watch]
    assert rest[-1].status_changed.status == pb.SESSION_STATUS_DELETED


async def test_tls_is_spoken_where_it_is_asked_for(tmp_path: Path) -> None:
    pem, secret = tmp_path / "cert.pem", tmp_path / "key.pem"
    openssl = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    command = [*openssl.split(), "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", str(secret), "-out", str(pem)]
    subprocess.run(command, check=True, capture_output=True)
    server = Server(tmp_path / "data", "--tls-cert", str(pem), "--tls-key", str(secret))
    try:
        async with aio.connect(server.addr, key=server.key, ca=pem.read_bytes()) as client:
            assert await (await client.create(agent="scripted")).ask(script({"say": "hidden"})) == "hidden"
    finally:
        server.end()


async def test_a_source_that_cannot_be_read_leaves_no_file(client: aio.Client, tmp_path: Path) -> None:
    session = await client.create(agent="scripted")
    with pytest.raises(IsADirectoryError):
        await session.upload("broken", tmp_path)
    with pytest.raises(Error) as missing:
        await session.read_file("broken")
    assert missing.value.reason == "FILE_NOT_FOUND"

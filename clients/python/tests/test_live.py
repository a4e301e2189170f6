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
from following import create, events_to, fold, snapshot
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from support import ENDLESS, LONG, Proxy, Server, script

from agentruntime import Error, State, aio, pb


def numbers(last: int) -> str:
    """What a count says."""
    return "".join(f"{number:019} " for number in range(1, last + 1))


async def ends(client: aio.Client, session_id: str, last: str) -> list[tuple[str, int]]:
    """How turns ended, up to this one."""
    ended = []
    async with aclosing(client.watch(session_id=session_id, after_sequence=0)) as watch:
        async for event in watch:
            turn = event.turn_updated.turn
            if turn.HasField("end_time"):
                ended.append((turn.turn_id, int(turn.status)))
                if turn.turn_id == last:
                    break
    return ended


async def hung_up(client: aio.Client, session_id: str, proxy: Proxy) -> None:
    """While the turn goes on, nothing more is sent to who hung up.

    What is on its way may still come; a stream that nobody reads goes on for longer, up to its window of 64 KiB.
    """
    noisy = 0
    while noisy <= 6:
        sent, sequence = proxy.answered, (await client.get_session(session_id=session_id)).session.sequence
        # Without watchers four commits a second are made.
        await asyncio.sleep(1)
        if (await client.get_session(session_id=session_id)).session.sequence >= sequence + 2:
            if proxy.answered - sent < 200:
                await client.interrupt_turn(session_id=session_id)
                return
            noisy += 1
    raise AssertionError("its events still come")


async def test_a_session_answers_and_shows_its_files(client: aio.Client) -> None:
    files = [pb.FileContent(path="a.txt", content=b"hi")]
    made = await client.create_session(agent="scripted", name="first", labels={"a": "1"}, workspace_files=files)
    session_id = made.session.session_id
    assert made.session.name == "first"
    message = script(
        {"think": "Easy."}, {"say": "One, ", "size": 2}, {"run": "echo hello > b.txt; cat b.txt"}, {"say": "two."}
    )
    kinds: dict[str, str] = {}
    async for block in client.run(session_id=session_id, text=message):
        kinds[block.block_id] = block.WhichOneof("content") or ""
    assert list(kinds.values()) == [
        "user_message",
        "thinking",
        "assistant_text",
        "tool_use",
        "tool_result",
        "assistant_text",
    ]
    assert [file.path async for file in client.list_files(session_id=session_id)] == ["a.txt", "b.txt"]
    assert await client.read_file(session_id=session_id, path="b.txt") == b"hello\n"
    listed = [block async for block in client.list_blocks(session_id=session_id)]
    assert [block.block_id for block in listed] == list(kinds)
    newest = [
        block.block_id async for block in client.list_blocks(session_id=session_id, order=pb.LIST_ORDER_NEWEST_FIRST)
    ]
    assert newest == list(reversed(kinds))
    assert await client.ask(session_id=session_id, text=script({"say": "Grüße"}, {"say": "😀"})) == "Grüße\n\n😀"
    assert session_id in [session.session_id async for session in client.list_sessions(labels={"a": "1"})]
    assert (await client.get_session(session_id=session_id)).session.status == pb.SESSION_STATUS_IDLE
    assert (await client.get_runtime_info()).version


async def test_a_long_text_comes_whole(client: aio.Client) -> None:
    session_id = await create(client)
    text = await client.ask(session_id=session_id, text=script({"count": 20_000, "size": 20}))
    assert text == numbers(20_000)


async def test_files_go_up_and_down(client: aio.Client, tmp_path: Path) -> None:
    session_id = await create(client)
    big = random.randbytes(3 * 1024 * 1024 + 1)
    header = pb.UploadFileHeader(session_id=session_id, path="dir/big", mode=0o755)
    assert (await client.upload_file(header, big)).file.size_bytes == len(big)
    assert not header.request_id, "the caller's request stays as it was"
    assert await client.read_file(session_id=session_id, path="dir/big") == big
    assert await client.read_file(session_id=session_id, path="dir/big", offset=5, limit=10) == big[5:15]
    (tmp_path / "source").write_bytes(big)
    header = pb.UploadFileHeader(session_id=session_id, path="from-disk")
    assert (await client.upload_file(header, tmp_path / "source")).file.size_bytes == len(big)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("x/y")
        member.size = 2
        tar.addfile(member, io.BytesIO(b"ok"))
    header = pb.UploadFileHeader(session_id=session_id, path="unpacked", unpack=pb.ARCHIVE_FORMAT_TAR_GZ)
    assert (await client.upload_file(header, archive.getvalue())).file_count == 1
    assert await client.read_file(session_id=session_id, path="unpacked/x/y") == b"ok"
    with pytest.raises(Error) as refused:
        await client.write_file(session_id=session_id, file=pb.FileContent(path="dir/big"), if_sha256="-")
    assert refused.value.reason == "ETAG_MISMATCH"
    await client.delete_file(session_id=session_id, path="dir/big")
    assert [file.path async for file in client.list_files(session_id=session_id, prefix="dir")] == []


async def test_a_permission_is_asked_for_and_given(client: aio.Client) -> None:
    session_id = await create(client)
    asks = script({"ask": {"tool": "Bash", "input": {"command": "ls"}}, "then": [{"say": "It ran."}]})
    accepted = await client.send_message(session_id=session_id, text=asks)
    said = State()
    async with aclosing(client.watch(session_id=session_id, after_sequence=accepted.sequence)) as watch:
        async for event in watch:
            said.apply(event)
            if event.WhichOneof("kind") == "permission_requested":
                waits = await client.get_session(session_id=session_id)
                assert [ask.permission_id for ask in waits.open_permissions] == [
                    event.permission_requested.permission.permission_id
                ]
                asked = waits.open_permissions[0].permission_id
                answer = await client.resolve_permission(
                    session_id=session_id, permission_id=asked, option_id="allow_once"
                )
                assert answer.permission.resolution.outcome == pb.INPUT_OUTCOME_ALLOWED
            if event.turn_updated.turn.status == pb.TURN_STATUS_COMPLETED:
                break
    assert [b.assistant_text.text for b in said.value.blocks if b.HasField("assistant_text")] == ["It ran."]
    with pytest.raises(Error) as late:
        await client.resolve_permission(session_id=session_id, permission_id=asked, option_id="reject_once")
    assert late.value.reason == "ALREADY_RESOLVED"
    assert late.value.metadata["option_id"] == "allow_once"


async def test_an_interrupt_ends_the_turn(client: aio.Client) -> None:
    session_id = await create(client)
    sent = await client.send_message(session_id=session_id, text=ENDLESS)
    stopped = await client.interrupt_turn(session_id=session_id, turn_id=sent.turn.turn_id)
    assert stopped.turn.turn_id == sent.turn.turn_id
    assert await ends(client, session_id, sent.turn.turn_id) == [(sent.turn.turn_id, pb.TURN_STATUS_INTERRUPTED)]
    assert not (await client.interrupt_turn(session_id=session_id)).HasField("turn"), "nothing is left to stop"


async def test_messages_wait_their_turn(client: aio.Client) -> None:
    session_id = await create(client)

    async def send(text: str, busy_policy: pb.BusyPolicy.ValueType) -> str:
        sent = await client.send_message(session_id=session_id, text=text, busy_policy=busy_policy)
        return sent.turn.turn_id

    active = await send(ENDLESS, pb.BUSY_POLICY_REJECT)
    waits = await send(script({"say": "later"}), pb.BUSY_POLICY_QUEUE)
    gone = await send(script({"say": "never"}), pb.BUSY_POLICY_QUEUE)
    cancelled = await client.cancel_turn(session_id=session_id, turn_id=gone)
    assert cancelled.turn.status == pb.TURN_STATUS_CANCELLED
    assert [turn.turn_id for turn in (await client.get_session(session_id=session_id)).session.queued_turns] == [waits]
    first = await send(script({"say": "now"}), pb.BUSY_POLICY_INTERRUPT)
    assert await ends(client, session_id, waits) == [
        (gone, pb.TURN_STATUS_CANCELLED),
        (active, pb.TURN_STATUS_INTERRUPTED),
        (first, pb.TURN_STATUS_COMPLETED),
        (waits, pb.TURN_STATUS_COMPLETED),
    ]
    assert [turn.turn_id async for turn in client.list_turns(session_id=session_id)] == [active, waits, gone, first]


async def test_a_question_is_answered(client: aio.Client) -> None:
    session_id = await create(client)
    choices = [{"label": "red", "description": "As fire."}, {"label": "blue", "description": "As the sea."}]
    question = {"question": "Which?", "header": "Colour", "options": choices, "multiSelect": False}
    asked = ""
    async for event in client.run_turn(
        session_id=session_id, text=script({"question": [question], "then": [{"say": "So be it."}]})
    ):
        if event.WhichOneof("kind") == "question_requested":
            asked = event.question_requested.question.question_id
            blue = [pb.QuestionAnswer(choices=["blue"])]
            answered = await client.answer_question(session_id=session_id, question_id=asked, answers=blue)
            assert answered.question.resolution.outcome == pb.INPUT_OUTCOME_ANSWERED
    state, _ = await snapshot(client, session_id)
    assert [list(answer.choices) for answer in state.value.questions[0].resolution.answers] == [["blue"]]
    assert state.value.blocks[-1].assistant_text.text == "So be it."
    with pytest.raises(Error) as late:
        await client.answer_question(session_id=session_id, question_id=asked)
    assert late.value.reason == "ALREADY_RESOLVED"


async def test_a_session_is_updated(client: aio.Client) -> None:
    made = (await client.create_session(agent="scripted", name="before", labels={"a": "1"})).session
    session_id = made.session_id

    async def update(name: str, etag: str = "") -> pb.Session:
        change = pb.Session(session_id=session_id, name=name, etag=etag)
        change.metadata["n"] = 1.0
        mask = FieldMask(paths=["name", "metadata"])
        return (await client.update_session(session=change, update_mask=mask)).session

    updated = await update("after", made.etag)
    assert (updated.name, updated.labels["a"], updated.metadata["n"]) == ("after", "1", 1.0)
    assert (await update("")).name == "", "a field can be cleared"
    with pytest.raises(Error) as stale:
        await update("lost", made.etag)
    assert stale.value.reason == "ETAG_MISMATCH"
    state, head = await snapshot(client, session_id)
    assert fold(await events_to(client, session_id, head)) == state.value


async def test_a_profile_takes_effect(client: aio.Client) -> None:
    profile = pb.AgentProfile(name="greets", agent="scripted", environment={"GREETING": pb.Secret(value="hi")})
    request = pb.CreateProfileRequest(profile=profile)
    made = (await client.profiles.CreateProfile(request)).profile
    assert not request.request_id, "the caller's request stays as it was"
    assert made.revision == 1
    session_id = (await client.create_session(profile_id=made.profile_id)).session.session_id
    outputs = [
        b.tool_result.text
        async for b in client.run(session_id=session_id, text=script({"run": "echo $GREETING"}))
        if b.tool_result.text
    ]
    assert outputs[-1] == "hi\n"


async def test_a_turn_that_fails_is_an_error(client: aio.Client) -> None:
    session_id = await create(client)
    with pytest.raises(Error, match="no luck") as failed:
        await client.ask(session_id=session_id, text=script({"error": "no luck"}))
    assert failed.value.code is grpc.StatusCode.ABORTED
    assert failed.value.reason == "AGENT_FAILED"


async def test_a_watch_survives_kill_and_restart(own_server: Server) -> None:
    async with aio.connect(own_server.addr, key=own_server.key) as client:
        session_id = await create(client)
        seen: list[pb.SessionEvent] = []
        turn = [event async for event in _killing(own_server, client.run_turn(session_id=session_id, text=LONG), seen)]
        state, head = await snapshot(client, session_id)
        assert fold(seen).blocks == state.value.blocks
        assert own_server.starts == 2
        assert state.value.blocks[-1].assistant_text.text == numbers(400)
        assert turn[-1].turn_updated.turn.status == pb.TURN_STATUS_COMPLETED
        assert fold(await events_to(client, session_id, head)) == state.value


async def _killing(
    server: Server, events: AsyncIterator[pb.SessionEvent], seen: list[pb.SessionEvent]
) -> AsyncIterator[pb.SessionEvent]:
    async for event in events:
        seen.append(event)
        yield event
        if event.HasField("block_delta") and server.starts == 1:
            server.kill()
            await asyncio.sleep(0.3)
            server.start()


async def test_a_watch_in_the_background_survives_kill_and_restart(own_server: Server) -> None:
    async with aio.connect(own_server.addr, key=own_server.key) as client:
        session_id = await create(client)
        live = State()

        async def follow() -> None:
            async for event in client.watch(session_id=session_id, bookmark_interval=Duration(seconds=1)):
                live.apply(event)
                if any(turn.status == pb.TURN_STATUS_COMPLETED for turn in live.value.turns):
                    return

        follows = asyncio.create_task(follow())
        await client.send_message(session_id=session_id, text=LONG)
        for _ in range(2):
            await asyncio.sleep(0.4)
            own_server.kill()
            own_server.start()
        await asyncio.wait_for(follows, 120)
        head = live.value.session.sequence
        assert fold(await events_to(client, session_id, head)) == live.value


async def test_cuts_in_the_middle_of_a_turn_lose_nothing(client: aio.Client, server: Server, proxy: Proxy) -> None:
    async with aio.connect(proxy.addr, key=server.key) as over_proxy:
        state, cuts, deltas = State(), 0, 0
        async for event in over_proxy.run_turn(session_id=await create(client), text=LONG):
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
    session_id = await create(client)
    async with aio.connect(proxy.addr, key=server.key) as over_proxy:
        events = over_proxy.run_turn(session_id=session_id, text=ENDLESS)
        async for event in events:
            if event.WhichOneof("kind") == "block_delta":
                break
        await events.aclose()
        await hung_up(client, session_id, proxy)


async def test_a_cancelled_task_hangs_up(client: aio.Client, server: Server, proxy: Proxy) -> None:
    session_id = await create(client)
    async with aio.connect(proxy.addr, key=server.key) as over_proxy:
        asks = asyncio.create_task(over_proxy.ask(session_id=session_id, text=ENDLESS))
        await _until_messages(client, session_id, 1)
        asks.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asks
        await hung_up(client, session_id, proxy)


async def test_a_call_whose_answer_is_lost_is_made_once(client: aio.Client, server: Server, proxy: Proxy) -> None:
    session_id = await create(client)
    async with aio.connect(proxy.addr, key=server.key) as over_proxy:
        await over_proxy.get_session(session_id=session_id)
        proxy.loses_answers = True
        sends = asyncio.ensure_future(over_proxy.send_message(session_id=session_id, text=script({"say": "once"})))
        await _until_messages(client, session_id, 1)
        proxy.recover()
        sent = await sends
    blocks = [block async for block in client.list_blocks(session_id=session_id)]
    assert [block.block_id for block in blocks if block.HasField("user_message")] == [sent.turn.block_id]


async def _until_messages(client: aio.Client, session_id: str, count: int) -> None:
    for _ in range(3000):
        blocks = [block async for block in client.list_blocks(session_id=session_id)]
        if sum(block.HasField("user_message") for block in blocks) == count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the message did not arrive")


async def test_a_repeated_request_id_gets_the_first_answer(client: aio.Client) -> None:
    first = await client.create_session(agent="scripted", request_id="mine")
    again = await client.create_session(agent="scripted", request_id="mine")
    assert first == again
    with pytest.raises(Error) as reused:
        await client.create_session(agent="scripted", name="another", request_id="mine")
    assert reused.value.reason == "REQUEST_ID_REUSED"


async def test_what_is_refused_says_why(client: aio.Client, server: Server) -> None:
    for key, reason in [("wrong", "AUTH_INVALID"), ("", "AUTH_MISSING")]:
        async with aio.connect(server.addr, key=key) as stranger:
            with pytest.raises(Error) as refused:
                await create(stranger)
            assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason)
            with pytest.raises(Error) as refused:
                await anext(stranger.watch(session_id="ses_1"))
            assert refused.value.reason == reason
    with pytest.raises(Error) as invalid:
        await client.create_session(agent="scripted", name="x" * 201)
    assert (invalid.value.reason, invalid.value.field_violations[0].field) == ("INVALID_FIELD", "name")
    with pytest.raises(Error) as missing:
        await client.get_session(session_id="ses_nowhere")
    assert (missing.value.reason, missing.value.metadata) == ("SESSION_NOT_FOUND", {"session_id": "ses_nowhere"})
    session_id = await create(client)
    with pytest.raises(Error) as ahead:
        await anext(client.watch(session_id=session_id, after_sequence=1000))
    assert ahead.value.reason == "SEQUENCE_AHEAD"
    first = await anext(client.watch(session_id=session_id, after_sequence=1, expected_uid="another-log"))
    assert first.WhichOneof("kind") == "snapshot_start", "a cursor of another log needs a snapshot"


async def test_a_deadline_is_kept(own_server: Server) -> None:
    async with aio.connect(own_server.addr, key=own_server.key) as client:
        session_id = await create(client)
        own_server.stand_still()
        try:
            began = time.monotonic()
            with pytest.raises(Error) as late:
                await client.within(0.5).get_session(session_id=session_id)
            assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert time.monotonic() - began > 0.4
            hurried = client.within(0.5)
            for stream in (
                hurried.watch(session_id=session_id),
                hurried.run(session_id=session_id, text="late"),
                hurried.watch_sessions(),
            ):
                with pytest.raises(Error) as late:
                    await anext(stream)
                assert late.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        finally:
            own_server.signal(signal.SIGCONT)


async def test_a_call_waits_for_a_server_that_comes_back(own_server: Server) -> None:
    proxy = Proxy(own_server.port)
    async with aio.connect(proxy.addr, key=own_server.key) as client:
        session_id = await create(client)
        await client.write_file(session_id=session_id, file=pb.FileContent(path="a.txt", content=b"hi"))

        def go_away() -> None:
            assert proxy.refuses == 0
            proxy.refuses = 2
            proxy.cut()

        go_away()
        assert (await client.get_session(session_id=session_id)).session.session_id == session_id
        go_away()
        assert await client.read_file(session_id=session_id, path="a.txt") == b"hi"
        assert proxy.refuses == 0
        own_server.kill()
        with pytest.raises(Error) as gone:
            await client.get_session(session_id=session_id)
        assert gone.value.code is grpc.StatusCode.UNAVAILABLE
    proxy.close()


async def test_a_deleted_session_ends_its_watches(client: aio.Client) -> None:
    session_id = await create(client)
    watch = client.watch(session_id=session_id, after_sequence=0)
    assert (await anext(watch)).WhichOneof("kind") == "bookmark"
    await client.stop_session(session_id=session_id)
    await client.delete_session(session_id=session_id)
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
            assert await client.ask(session_id=await create(client), text=script({"say": "hidden"})) == "hidden"
    finally:
        server.end()


async def test_a_source_that_cannot_be_read_leaves_no_file(client: aio.Client, tmp_path: Path) -> None:
    session_id = await create(client)
    with pytest.raises(IsADirectoryError):
        await client.upload_file(pb.UploadFileHeader(session_id=session_id, path="broken"), tmp_path)
    with pytest.raises(Error) as missing:
        await client.read_file(session_id=session_id, path="broken")
    assert missing.value.reason == "FILE_NOT_FOUND"

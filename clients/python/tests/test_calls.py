"""Calls about what stands beside a conversation: profiles, turns, rules, images and the list of sessions."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from following import create, snapshot
from google.protobuf.field_mask_pb2 import FieldMask
from support import Proxy, Server, script

import agentruntime
from agentruntime import Error, aio, pb
from agentruntime._resume import Listing


async def test_a_profile_is_kept_changed_and_deleted(client: aio.Client) -> None:
    async def make(name: str) -> pb.AgentProfile:
        return (await client.create_profile(profile=pb.AgentProfile(name=name, agent="scripted"))).profile

    async def get(revision: int = 0) -> pb.AgentProfile:
        return (await client.get_profile(profile_id=made.profile_id, revision=revision)).profile

    made = await make("first")
    assert await get() == made
    change = pb.UpdateProfileRequest(profile=pb.AgentProfile(profile_id=made.profile_id, name="second", etag=made.etag))
    change.update_mask.paths.append("name")
    updated = (await client.profiles.UpdateProfile(change)).profile
    assert (updated.name, updated.revision) == ("second", 2)
    with pytest.raises(Error) as stale:
        await client.profiles.UpdateProfile(change)
    assert stale.value.reason == "ETAG_MISMATCH"
    assert (await get(revision=1)).name == "first"
    another = await make("third")
    await client.delete_profile(profile_id=made.profile_id)
    listed = [profile.profile_id async for profile in client.list_profiles()]
    assert another.profile_id in listed
    assert made.profile_id not in listed


async def test_a_turn_is_read_long_after(client: aio.Client) -> None:
    session_id = await create(client)
    await client.ask(session_id=session_id, text=script({"say": "Hi."}))
    [turn] = [turn async for turn in client.list_turns(session_id=session_id)]

    async def get(turn_id: str) -> pb.Turn:
        return (await client.get_turn(session_id=session_id, turn_id=turn_id)).turn

    assert await get(turn.turn_id) == turn
    assert turn.status == pb.TURN_STATUS_COMPLETED
    with pytest.raises(Error) as finished:
        await client.cancel_turn(session_id=session_id, turn_id=turn.turn_id)
    assert finished.value.reason == "TURN_FINISHED"
    with pytest.raises(Error) as missing:
        await get("turn_none")
    assert missing.value.reason == "TURN_NOT_FOUND"


async def test_an_always_answers_until_its_rule_is_deleted(client: aio.Client) -> None:
    session_id = await create(client)

    async def play() -> int:
        """How often somebody had to answer."""
        times = 0
        async for event in client.run_turn(
            session_id=session_id, text=script({"ask": {"tool": "Bash", "input": {"command": "ls"}}})
        ):
            asked = event.permission_requested.permission
            if asked.permission_id and not asked.HasField("resolution"):
                times += 1
                answer = {"permission_id": asked.permission_id, "option_id": "allow_always"}
                await client.resolve_permission(session_id=session_id, **answer)
        return times

    async def rules() -> list[pb.PermissionRule]:
        return list((await client.list_permission_rules(session_id=session_id)).rules)

    assert [await play(), await play()] == [1, 0]
    [rule] = await rules()
    assert rule.effect == pb.PERMISSION_EFFECT_ALLOW
    await client.delete_permission_rule(session_id=session_id, rule_id=rule.rule_id)
    assert await rules() == []
    assert await play() == 1
    state, _ = await snapshot(client, session_id)
    assert list(state.value.permission_rules) == await rules()


async def test_an_image_is_read_by_its_hash(tmp_path: Path) -> None:
    # The program is never heard: what is accepted with a message is kept whatever becomes of its turn.
    program = tmp_path / "claude"
    program.write_text("#!/bin/sh\nexec cat > /dev/null\n")
    program.chmod(0o755)
    server = Server(tmp_path / "data", "--sandbox", "process", "--claude-code", str(program))
    picture = b"\x89PNG\r\n\x1a\n" + b"grey" * 100_000
    try:
        async with aio.connect(server.addr, key=server.key) as client:
            session_id = (await client.create_session(agent="claude-code")).session.session_id
            part = pb.ContentPart(image=pb.Blob(media_type="image/png", data=picture))
            sent = await client.send_message(session_id=session_id, parts=[part])
            async for event in client.watch(session_id=session_id, after_sequence=0):
                block = event.block_start.block
                if block.block_id == sent.turn.block_id:
                    break
            image = block.user_message.parts[0].image
            assert (image.sha256, image.size_bytes) == (hashlib.sha256(picture).hexdigest(), len(picture))
            assert await client.read_blob(session_id=session_id, sha256=image.sha256) == picture
            with pytest.raises(Error) as missing:
                await client.read_blob(session_id=session_id, sha256="0" * 64)
            assert missing.value.reason == "BLOB_NOT_FOUND"
    finally:
        server.end()


LABELS = {"mine": "yes"}


async def watched(client: aio.Client, between: Callable[[int], Awaitable[None]]) -> dict[str, str]:
    """The names in the list once it was synced three times, by id."""
    listed: dict[str, str] = {}
    synced = 0
    async for response in client.watch_sessions(labels=LABELS):
        for change in response.changes:
            if change.kind == pb.SESSION_CHANGE_KIND_REMOVED:
                listed.pop(change.session.session_id, None)
            else:
                listed[change.session.session_id] = change.session.name
        if response.synced:
            synced += 1
            if synced == 3:
                break
            await between(synced)
    return listed


async def test_the_list_is_watched_through_cuts_and_restarts(own_server: Server) -> None:
    proxy = Proxy(own_server.port)
    async with (
        aio.connect(own_server.addr, key=own_server.key) as direct,
        aio.connect(proxy.addr, key=own_server.key) as client,
    ):

        async def add(name: str) -> str:
            return (await direct.create_session(agent="scripted", name=name, labels=LABELS)).session.session_id

        stays, goes = await add("stays"), await add("goes")
        await create(direct)
        expected = {stays: "stays"}

        async def between(time: int) -> None:
            if time == 1:
                proxy.cut()
                await direct.delete_session(session_id=goes)
                return
            own_server.kill()
            own_server.start()
            expected[await add("comes")] = "comes"

        assert await watched(client, between) == expected
    proxy.close()


def test_a_list_that_comes_anew_tells_what_is_gone() -> None:
    def brings(revision: int, *ids: str) -> pb.WatchSessionsResponse:
        changes = [
            pb.SessionChange(kind=pb.SESSION_CHANGE_KIND_ADDED, session=pb.Session(session_id=name, uid=f"of {name}"))
            for name in ids
        ]
        return pb.WatchSessionsResponse(changes=changes, revision=revision, synced=revision > 0)

    listing = Listing(pb.WatchSessionsRequest())
    assert not listing.request().HasField("after_revision")
    list(listing.take(brings(3, "ses_1", "ses_2")))
    assert listing.request().after_revision == 3
    assert listing.asks_otherwise(Error(grpc.StatusCode.OUT_OF_RANGE, "", "SEQUENCE_TRUNCATED"))
    assert not listing.request().HasField("after_revision")
    list(listing.take(brings(0, "ses_1")))
    assert not listing.request().HasField("after_revision"), "a list that is on its way has no revision"
    list(listing.take(brings(0, "ses_1")))
    [last] = listing.take(brings(7))
    assert [(c.kind, c.session.session_id, c.session.uid) for c in last.changes] == [
        (pb.SESSION_CHANGE_KIND_REMOVED, "ses_2", "of ses_2")
    ]
    assert listing.request().after_revision == 7


def test_threads_watch_the_list(server: Server) -> None:
    with agentruntime.connect(server.addr, key=server.key) as client:
        made = client.create_session(agent="scripted", labels={"threads": "yes"}).session
        for response in client.watch_sessions(labels={"threads": "yes"}):
            names = [change.session.name for change in response.changes]
            if response.synced:
                change = pb.Session(session_id=made.session_id, name="changed")
                client.update_session(session=change, update_mask=FieldMask(paths=["name"]))
            if "changed" in names:
                break
        with pytest.raises(Error) as ahead:
            next(client.watch_sessions(after_revision=1 << 40))
        assert ahead.value.reason == "SEQUENCE_AHEAD"

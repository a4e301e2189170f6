"""Drives the official Python SDK through what people do with sandboxes. Every result is checked; the first wrong one ends it.

    drive.py walk | gpu | more | reattach SANDBOX

`walk` makes the calls of the golden traces and no others, and prints its sandbox, which runs on. `gpu` does so for a sandbox with
a GPU, which only the first version of sandboxes has, whatever the settings say.
"""

import sys
import time

import modal
import modal.exception


def image():
    return modal.Image.from_registry("node:20-slim").dockerfile_commands(
        "RUN npm i -g @anthropic-ai/claude-code", "WORKDIR /srv"
    )


def walk():
    app = modal.App.lookup("rig-app", create_if_missing=True)
    sandbox = modal.Sandbox.create(
        "sleep",
        "infinity",
        app=app,
        image=image(),
        timeout=3600,
        idle_timeout=600,
        cpu=1.0,
        memory=1024,
        workdir="/tmp",
        env={"FOO": "bar"},
        secrets=[modal.Secret.from_dict({"ANTHROPIC_API_KEY": "sk-x"})],
        tags={"session": "s1"},
    )
    process = sandbox.exec("sh", "-c", "cat; echo err >&2; exit 3", workdir="/tmp", env={"A": "1"}, timeout=30)
    process.stdin.write("line1\n")
    process.stdin.write_eof()
    process.stdin.drain()
    assert list(process.stdout) == ["line1\n"]
    assert (process.stderr.read(), process.wait()) == ("err\n", 3)
    sandbox.filesystem.write_text("hello fs\n", "/tmp/rig-fs.txt")
    assert sandbox.filesystem.read_text("/tmp/rig-fs.txt") == "hello fs\n"
    snapshot = sandbox.snapshot_filesystem()
    restored = modal.Sandbox.create(app=app, image=snapshot, timeout=600)
    assert restored.object_id != sandbox.object_id
    assert sandbox.get_tags() == {"session": "s1"}
    sandbox.set_tags({"session": "s2"})
    found = modal.Sandbox.list(app_id=app.app_id, tags={"session": "s2"})
    assert [one.object_id for one in found] == [sandbox.object_id]
    assert modal.Sandbox.from_id(sandbox.object_id).object_id == sandbox.object_id
    assert sandbox.poll() is None
    sandbox.terminate()
    sandbox.wait(raise_on_termination=False)
    assert sandbox.returncode == 137
    print(restored.object_id)


def gpu():
    app = modal.App.lookup("rig-app", create_if_missing=True)
    sandbox = modal.Sandbox.create(
        "sleep", "infinity", app=app, image=image(), timeout=3600, idle_timeout=600, cpu=1.0, memory=1024, gpu="A10G"
    )
    process = sandbox.exec("sh", "-c", "cat; echo err >&2; exit 3")
    process.stdin.write("line1\n")
    process.stdin.write_eof()
    process.stdin.drain()
    assert list(process.stdout) == ["line1\n"]
    assert (process.stderr.read(), process.wait()) == ("err\n", 3)
    assert sandbox.poll() is None
    sandbox.terminate()
    sandbox.wait(raise_on_termination=False)
    assert sandbox.returncode == 137


def reattach(sandbox_id):
    sandbox = modal.Sandbox.from_id(sandbox_id)
    process = sandbox.exec("echo", "re")
    assert process.stdout.read() == "re\n"
    assert process.wait() == 0


def raises(kind, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind:
        return
    raise AssertionError(f"{call} raised nothing")


def more():
    from modal.exception import (
        AlreadyExistsError,
        NotFoundError,
        SandboxFilesystemDirectoryNotEmptyError,
        SandboxFilesystemIsADirectoryError,
        SandboxFilesystemNotADirectoryError,
        SandboxFilesystemNotFoundError,
        SandboxFilesystemPathAlreadyExistsError,
    )

    app = modal.App.lookup("more", create_if_missing=True)
    name = f"named-{time.time_ns()}"
    sandbox = modal.Sandbox.create(app=app, image=image(), timeout=600, name=name)
    raises(AlreadyExistsError, modal.Sandbox.create, app=app, image=image(), timeout=600, name=name)
    assert modal.Sandbox.from_name("more", name).object_id == sandbox.object_id

    # Secrets of a program are its own.
    key = modal.Secret.from_dict({"KEY": "k"})
    assert sandbox.exec("sh", "-c", "echo $KEY; pwd", secrets=[key]).stdout.read() == "k\n/srv\n"
    assert sandbox.exec("sh", "-c", "echo $KEY").stdout.read() == "\n"

    # Much output, also by lines, and much input.
    numbers = sandbox.exec("seq", "200000").stdout.read()
    assert numbers == "".join(f"{n}\n" for n in range(1, 200001))
    counting = sandbox.exec("wc", "-c", text=False)
    counting.stdin.write(b"x" * 1_000_000)
    counting.stdin.write_eof()
    counting.stdin.drain()
    assert counting.stdout.read().strip() == b"1000000"

    # Too slow: killed.
    slow = sandbox.exec("sleep", "1000", timeout=1)
    assert slow.wait() in (-1, 137)
    # One program ends another.
    victim = sandbox.exec("sh", "-c", "echo $$ > /tmp/pid; exec sleep 1000")
    sandbox.exec("sh", "-c", "until test -s /tmp/pid; do :; done; kill $(cat /tmp/pid)").wait()
    assert victim.wait() == 143

    files = sandbox.filesystem
    files.make_directory("/workspace/a/b")
    files.write_bytes(bytes(range(256)) * 4096, "/workspace/a/b/blob")
    assert files.read_bytes("/workspace/a/b/blob") == bytes(range(256)) * 4096
    assert [(one.name, one.is_dir()) for one in files.list_files("/workspace/a")] == [("b", True)]
    entry = files.stat("/workspace/a/b/blob")
    assert (entry.size, entry.is_file(), entry.owner) == (1 << 20, True, "root")
    raises(SandboxFilesystemNotFoundError, files.read_text, "/workspace/none")
    raises(SandboxFilesystemIsADirectoryError, files.read_text, "/workspace/a")
    raises(SandboxFilesystemIsADirectoryError, files.write_text, "x", "/workspace/a")
    raises(SandboxFilesystemNotADirectoryError, files.write_text, "x", "/workspace/a/b/blob/c")
    raises(SandboxFilesystemNotADirectoryError, files.list_files, "/workspace/a/b/blob")
    raises(SandboxFilesystemPathAlreadyExistsError, files.make_directory, "/workspace/a", create_parents=False)
    raises(SandboxFilesystemDirectoryNotEmptyError, files.remove, "/workspace/a")

    # A watch tells what another program does; it is there when it has told of the first file it can see.
    teller = sandbox.exec("sh", "-c", "while sleep 0.05; do echo x > /workspace/a/told; rm -f /workspace/a/told; done")
    kinds = set()
    for event in files.watch("/workspace", recursive=True, timeout=30):
        assert event.paths == ["/workspace/a/told"], event
        kinds.add(event.type.value)
        if {"Create", "Modify", "Remove"} <= kinds:
            break
    else:
        raise AssertionError(f"only {kinds} were told")
    assert teller.poll() is None
    files.remove("/workspace/a", recursive=True)
    assert files.list_files("/workspace") == []

    # What was written comes back from a snapshot.
    files.write_text("kept", "/root/note")
    restored = modal.Sandbox.create(app=app, image=sandbox.snapshot_filesystem(), timeout=600)
    assert restored.filesystem.read_text("/root/note") == "kept"
    restored.terminate()

    # The sandbox's own program: its output, and its end.
    short = modal.Sandbox.create("sh", "-c", "echo out; exit 5", app=app, image=image(), timeout=600)
    short.wait(raise_on_termination=False)
    assert short.returncode == 5

    sandbox.terminate()
    sandbox.wait(raise_on_termination=False)
    raises((NotFoundError, modal.exception.Error), sandbox.exec, "true")
    left = [one for one in modal.Sandbox.list(app_id=app.app_id) if one.object_id in (sandbox.object_id, short.object_id)]
    assert left == []


if __name__ == "__main__":
    {"walk": walk, "gpu": gpu, "more": more, "reattach": reattach}[sys.argv[1]](*sys.argv[2:])

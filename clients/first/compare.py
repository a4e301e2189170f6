"""Runs the first program of each README against one server, and compares what they print, byte for byte.

compare.py [LANGUAGE]...: only these. ../README.md says what a first program prints. What is right is read from the
server with the plain generated stubs: nothing here knows what the agent says, and no client has a part in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PYTHON = ROOT / "clients/python"
sys.path[:0] = [str(PYTHON / "src"), str(PYTHON / "tests")]

from support import Server  # noqa: E402

import grpc  # noqa: E402
from agentruntime.v1 import block_pb2 as block_v1  # noqa: E402
from agentruntime.v1 import session_service_pb2 as v1  # noqa: E402
from agentruntime.v1 import session_service_pb2_grpc, workspace_service_pb2, workspace_service_pb2_grpc  # noqa: E402

# Text that streams and is no ASCII, several lines, calls that succeed and fail, files in folders.
SCRIPT = [
    {"think": "Kurz überlegt 🤔.", "size": 3, "pace_ms": 1},
    {"say": "I look: «änd» 北京 🙂.\nIn two lines.", "size": 2, "pace_ms": 1},
    {"run": "mkdir notes && echo 1 > one.txt && echo 2 > notes/zwei.txt && cat one.txt"},
    {"tool": "Grep", "input": {"pattern": "x"}, "output": "nothing", "exit_code": 1},
    {"count": 40, "size": 20, "pace_ms": 1},
]
# The kinds of blocks that these are.
KINDS = {"user_message", "thinking", "assistant_text", "tool_use", "tool_result"}
LONGEST = 20


def shown(readme: str, fence: str) -> str:
    """The program that a README shows: its only block of that language."""
    blocks = (ROOT / readme).read_text(encoding="utf-8").split(f"```{fence}\n")[1:]
    assert len(blocks) == 1, f"{readme} has {len(blocks)} blocks of {fence}"
    program = blocks[0].split("```")[0]
    lines = program.count("\n")
    assert lines <= LONGEST, f"the program of {readme} has {lines} lines, which is no first program"
    return program


def same(program: str, file: str, *, comments: str = "", within: bool = False) -> None:
    """Checks that what is run is what is shown."""
    text = (ROOT / file).read_text(encoding="utf-8")
    if within:
        assert program in text, f"{file} does not have the program of its README"
    elif comments:
        kept = [line for line in text.splitlines(keepends=True) if not line.startswith(comments)]
        text = "".join(kept).lstrip("\n")
    assert within or program == text, f"{file} is not the program of its README"


def rust() -> list[str]:
    """Built by `cargo build --example first`; README shows it whole, but for the comment above."""
    same(shown("README.md", "rust"), "examples/first.rs", comments="//!")
    return [str(TARGET / "debug/examples/first")]


def go() -> list[str]:
    """README shows `main`; imports and `must` stand around it."""
    same(shown("clients/go/README.md", "go"), "clients/go/examples/first/main.go", within=True)
    return ["go", "run", "-C", str(ROOT / "clients/go"), "./examples/first"]


def python() -> list[str]:
    """README's text itself is run."""
    return [sys.executable, "-c", shown("clients/python/README.md", "python")]


def typescript() -> list[str]:
    """Built by `tsc --outDir build`; README shows it whole."""
    same(shown("clients/typescript/README.md", "ts"), "clients/typescript/examples/first.ts")
    return ["node", str(ROOT / "clients/typescript/build/examples/first.js")]


LANGUAGES = {"rust": rust, "go": go, "python": python, "typescript": typescript}


class Truth:
    """What the server says of what a program did."""

    def __init__(self, server: Server) -> None:
        channel = grpc.insecure_channel(server.addr)
        self.sessions = session_service_pb2_grpc.SessionServiceStub(channel)
        self.workspaces = workspace_service_pb2_grpc.WorkspaceServiceStub(channel)
        self.key = (("authorization", f"Bearer {server.key}"),)

    def session(self, known: set[str]) -> str:
        """The one session that is not known yet."""
        listed = self.sessions.ListSessions(v1.ListSessionsRequest(), metadata=self.key).sessions
        new = [session.session_id for session in listed if session.session_id not in known]
        assert len(new) == 1, f"the program made {len(new)} sessions"
        known.add(new[0])
        return new[0]

    def lines(self, session_id: str) -> str:
        """What the program has to print, by ListBlocks and ListFiles."""
        request = v1.ListBlocksRequest(session_id=session_id, page_size=1000)
        blocks = self.sessions.ListBlocks(request, metadata=self.key).blocks
        first = blocks[0].turn_id
        texts = [b.assistant_text.text for b in blocks if b.turn_id == first and b.HasField("assistant_text")]
        answer = "\n\n".join(texts)
        rest = [block for block in blocks if block.turn_id != first]
        kinds = {str(block.WhichOneof("content")) for block in rest}
        assert kinds == KINDS, f"the script was not played: {kinds}"
        assert all(block.state == block_v1.BLOCK_STATE_COMPLETE for block in blocks)
        rest.sort(key=lambda block: block.complete_time.ToNanoseconds())
        listing = workspace_service_pb2.ListFilesRequest(session_id=session_id, page_size=1000)
        files = self.workspaces.ListFiles(listing, metadata=self.key).files
        return "".join(
            [
                f"answer: {answer}\n",
                *(f"{block.WhichOneof('content')}: {words(block)}\n" for block in rest),
                *(f"file: {file.path}\n" for file in files),
            ]
        )


def words(block: block_v1.Block) -> str:
    """What stands behind the kind of a block."""
    kind = block.WhichOneof("content")
    if kind == "user_message":
        return "".join(part.text for part in block.user_message.parts)
    if kind == "tool_use":
        return block.tool_use.tool_name
    return str(getattr(block, str(kind)).text)


def main(names: list[str]) -> int:
    """Runs them one after the other, so that each session is told from the others."""
    printed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as data:
        server = Server(Path(data))
        try:
            truth, known = Truth(server), set[str]()
            variables = {"ADDR": server.addr, "KEY": server.key, "SCRIPT": json.dumps(SCRIPT)}
            environment = os.environ | variables | {"PYTHONPATH": str(PYTHON / "src")}
            for name in names:
                done = subprocess.run(LANGUAGES[name](), env=environment, capture_output=True, check=False)
                assert done.returncode == 0, f"{name}: {done.stderr.decode()}"
                printed[name] = done.stdout.decode()
                right = truth.lines(truth.session(known))
                if printed[name] != right:
                    print(f"{name} prints\n{printed[name]}\nand the server has\n{right}")
                    return 1
        finally:
            server.end()
    assert len(set(printed.values())) == 1, f"they print different things: {printed}"
    lines = printed[names[0]].count("\n")
    print(f"{', '.join(names)}: the same {lines} lines, which are what the server has")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(LANGUAGES)))

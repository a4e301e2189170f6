"""The first program of the README, as it stands there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support import Server

HERE = Path(__file__).parents[1]


def test_the_first_program_runs(server: Server) -> None:
    program = (HERE / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert program.count("\n") <= 20
    assert program in (HERE.parents[1] / "README.md").read_text(encoding="utf-8"), "the project's README shows another"
    environment = os.environ | {"ADDR": server.addr, "KEY": server.key, "PYTHONPATH": str(HERE / "src")}
    command = [sys.executable, "-c", program]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()
    assert [line.split()[0] for line in printed[1:]] == [
        "user_message",
        "assistant_text",
        "tool_use",
        "tool_result",
        "one.txt",
    ]

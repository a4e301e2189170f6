"""Plays the grpcurl transcript of the project's README against a real server, and compares what both show.

transcript.py GRPCURL: the program that the transcript's commands find by that name. A line `$ …` is a command for a
shell, and `> …` goes on with it; what follows is what it prints, where `…` stands for any lines, and `^C` at its end
for an interrupt once that was seen. Ids and times are other ones in each run: a time is any time, and an id of the
README is the same one wherever it appears, also in the commands that come after it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "clients/python/src"), str(ROOT / "clients/python/tests")]

from support import Server  # noqa: E402

FENCE = "```console\n"
# What the README calls the server's address and its data folder.
ADDRESS, FOLDER = "127.0.0.1:50051", "DIR"
ID = re.compile(r"\b(?:[a-z]+_)?[0-9A-HJKMNP-TV-Z]{26}\b")
TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
ANY, INTERRUPT = "…", "^C"
# A command that prints less than the README shows is given up after this.
PATIENCE = 60

Ids = dict[str, str]


@dataclass
class Command:
    """A command of the transcript, and what it shows of its output."""

    line: str
    shown: list[str] = field(default_factory=list)


def transcript() -> list[Command]:
    """The README's only console session."""
    blocks = (ROOT / "README.md").read_text(encoding="utf-8").split(FENCE)[1:]
    assert len(blocks) == 1, f"README.md has {len(blocks)} console sessions"
    commands: list[Command] = []
    for line in blocks[0].split("```")[0].splitlines():
        if line.startswith("$ "):
            commands.append(Command(line.removeprefix("$ ")))
        elif line.startswith("> "):
            commands[-1].line += "\n" + line.removeprefix("> ")
        else:
            commands[-1].shown.append(line)
    return commands


def same(shown: str, printed: str, ids: Ids) -> Ids | None:
    """The ids after this line, if it is the same but for ids and times."""
    shown, printed = TIME.sub("TIME", shown), TIME.sub("TIME", printed)
    if ID.sub("ID", shown) != ID.sub("ID", printed):
        return None
    ids = dict(ids)
    for theirs, ours in zip(ID.findall(shown), ID.findall(printed), strict=True):
        kinds = theirs.rpartition("_")[0], ours.rpartition("_")[0]
        if kinds[0] != kinds[1] or ids.setdefault(theirs, ours) != ours or list(ids.values()).count(ours) != 1:
            return None
    return ids


def matches(shown: list[str], printed: list[str], ids: Ids) -> Ids | None:
    """The ids after these lines, if they are what is shown."""
    if not shown:
        return None if printed else ids
    if shown[0] == ANY:
        rests = (matches(shown[1:], printed[at:], ids) for at in range(len(printed) + 1))
        return next((rest for rest in rests if rest is not None), None)
    after = same(shown[0], printed[0], ids) if printed else None
    return None if after is None else matches(shown[1:], printed[1:], after)


def play(command: Command, prelude: str, environment: dict[str, str], ids: Ids) -> Ids:
    """Runs a command, and returns the ids that it made known."""
    interrupted = command.shown[-1:] == [INTERRUPT]
    shown = command.shown[:-1] if interrupted else command.shown
    # In a group of its own, so that what is interrupted is the program, and not this one.
    process = subprocess.Popen(
        ["bash", "-c", prelude + command.line],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    watchdog = threading.Timer(PATIENCE, os.killpg, (process.pid, signal.SIGKILL))
    watchdog.start()
    printed: list[str] = []
    found: Ids | None = None
    try:
        for line in process.stdout:
            printed.append(line.rstrip("\n"))
            if interrupted and (found := matches(shown, printed, ids)) is not None:
                os.killpg(process.pid, signal.SIGINT)
                break
        process.wait()
        process.stdout.close()
    finally:
        watchdog.cancel()
    if not interrupted:
        assert process.returncode == 0, f"$ {command.line}\nended with {process.returncode}:\n" + "\n".join(printed)
        found = matches(shown, printed, ids)
    if found is None:
        text = "\n".join(["README.md shows", *shown, "", "and what is printed is", *printed])
        raise AssertionError(f"$ {command.line}\n{text}")
    return found


def main(grpcurl: Path) -> None:
    """Plays it from its first to its last command."""
    commands = transcript()
    verbs = {"list", "describe", "CreateSession", "RunTurn", "WatchSession"}
    missing = [verb for verb in verbs if not any(re.search(rf"\b{verb}\b", command.line) for command in commands)]
    assert not missing, f"the transcript does not show {missing}"
    environment = os.environ | {"PATH": f"{grpcurl.resolve().parent}:{os.environ['PATH']}"}
    prelude, ids = "", Ids()
    with tempfile.TemporaryDirectory() as data:
        server = Server(Path(data))
        try:
            for command in commands:
                line = command.line.replace(ADDRESS, server.addr).replace(FOLDER, data)
                for theirs, ours in ids.items():
                    line = line.replace(theirs, ours)
                assert not (unknown := [id for id in ID.findall(line) if id not in ids.values()]), (
                    f"{unknown} is of nobody"
                )
                if re.match(r"[A-Z]+=", line):
                    prelude += line + "\n"
                else:
                    ids = play(Command(line, command.shown), prelude, environment, ids)
        finally:
            server.end()
    lines = sum(len(command.shown) for command in commands)
    print(f"the README's transcript holds: {len(commands)} commands, {lines} lines of what they print")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

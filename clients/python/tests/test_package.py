"""The package as it is released: what is in it, and that an empty environment is enough for the first program."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tarfile
import time
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from support import Server

import agentruntime

HERE = Path(__file__).parents[1]
PACKAGE = HERE / "src" / "agentruntime"
# As old as the package says that they may be.
OLDEST = (
    "grpcio==1.71.2",
    "protobuf==5.29.0",
    "googleapis-common-protos==1.66.0",
    "types-grpcio==1.0.0.20250426",
    "types-protobuf==5.29.1.20250208",
)
# A type checker that sees all types refuses just four lines of it; one that takes something for Any says that there is
# nothing to ignore.
TYPED = """
import agentruntime
from agentruntime import aio, pb

async def main(client: aio.Client, threads: agentruntime.Client) -> None:
    turn: pb.Turn = (await client.get_turn(session_id="ses_1")).turn
    async for block in client.run(session_id="ses_1", text="hello"):
        print(block.nonsense, turn.turn_id)  # type: ignore[attr-defined]
    for block in threads.list_blocks(session_id="ses_1"):
        print(block.nonsense)  # type: ignore[attr-defined]
    await client.ask(session_id="ses_1", nonsense=True)  # type: ignore[call-arg]
    threads.create_session(nonsense=True)  # type: ignore[call-arg]
    turn = threads.sessions.GetTurn(pb.GetTurnRequest()).turn
"""


def first_program() -> str:
    """As the README shows it."""
    return (HERE / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]


def call(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Runs a program as somebody elsewhere would, and returns what it printed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=inherited | environment,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def install(*what: str | Path, into: Path) -> None:
    """Installs packages into an environment, up to three times: what comes over the network fails now and then."""
    for last in (False, False, True):
        try:
            call(sys.executable, "-m", "pip", "--python", into, "install", "--quiet", *what, cwd=into.parents[2])
        except AssertionError as failed:
            if last:
                raise
            print(f"once more, for: {failed}")
            time.sleep(5)
        else:
            return


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("built")
    leavings = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist", ".*")
    copy = shutil.copytree(HERE, folder / "source", ignore=leavings)
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, copy, cwd=folder)
    return folder


def test_all_of_the_contract_is_in_one_place() -> None:
    modules = [importlib.import_module(f"agentruntime.v1.{path.stem}") for path in (PACKAGE / "v1").glob("*_pb2.py")]
    names = {name for module in modules for name in vars(module) if name[0].isupper() and name != "DESCRIPTOR"}
    assert len(modules) > 10
    assert names - set(vars(agentruntime.pb)) == set()


def wheel_of(built: Path) -> Path:
    return next(built.glob("*.whl"))


def sdist_of(built: Path) -> Path:
    return next(built.glob("*.tar.gz"))


def test_there_is_nothing_but_the_package_in_it(built: Path) -> None:
    sources = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.suffix in (".py", ".pyi", ".typed")
    }
    assert "agentruntime/py.typed" in sources
    with zipfile.ZipFile(wheel_of(built)) as wheel:
        info = f"{wheel_of(built).name.removesuffix('-py3-none-any.whl')}.dist-info/"
        about = {info + name for name in ("METADATA", "WHEEL", "RECORD", "top_level.txt", "licenses/LICENSE")}
        assert set(wheel.namelist()) == sources | about
        assert wheel.read(info + "licenses/LICENSE") == (HERE.parents[1] / "LICENSE").read_bytes()
        told = wheel.read(info + "METADATA")
    with tarfile.open(sdist_of(built)) as sdist:
        names = {member.name.partition("/")[2] for member in sdist if member.isfile()}
        about = {"PKG-INFO", "README.md", "LICENSE", "MANIFEST.in", "pyproject.toml", "setup.cfg"}
        assert {name for name in names if ".egg-info/" not in name} == {f"src/{name}" for name in sources} | about
    # What an index checks before it takes a release.
    metadata = Metadata.from_email(told, validate=True)
    assert (metadata.name, metadata.license_expression) == ("agentruntime", "MIT")
    assert metadata.description == (HERE / "README.md").read_text(encoding="utf-8")
    assert HeaderParser().parsestr(told.decode())["Description-Content-Type"] == "text/markdown"


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_an_empty_environment_runs_the_first_program(kind: str, built: Path, server: Server, tmp_path: Path) -> None:
    program = first_program()
    assert program.count("\n") <= 20
    assert program in (HERE.parents[1] / "README.md").read_text(encoding="utf-8"), "the project's README shows another"
    (tmp_path / "first.py").write_text(program, encoding="utf-8")
    (tmp_path / "typed.py").write_text(TYPED, encoding="utf-8")
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    package: list[str | Path] = [sdist_of(built), *OLDEST]
    if kind == "wheel":
        package = [wheel_of(built), "--constraint", HERE / "requirements-dev.txt"]
    install(*package, into=python)
    strict: list[str | Path] = ["--strict", "--cache-dir", tmp_path / "mypy", "--python-executable", python]
    call(sys.executable, "-m", "mypy", *strict, "first.py", "typed.py", cwd=tmp_path)
    given = {"ADDR": server.addr, "KEY": server.key, "SCRIPT": '[{"say": "I look."}, {"run": "echo 1 > one.txt"}]'}
    # That it prints what those of the other languages do, and the server says, clients/first compares.
    printed = call(python, "first.py", cwd=tmp_path, **given)
    assert printed.startswith("answer: ")
    assert printed.endswith("assistant_text: I look.\ntool_use: Bash\ntool_result: \nfile: one.txt\n")

"""A real server's process, and a connection to it that can be cut."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def program() -> str:
    """The server under test: `SERVER_UNDER_TEST`, else what `cargo build` made."""
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    return os.environ.get("SERVER_UNDER_TEST") or f"{target}/debug/agent-runtime"


def script(*steps: dict[str, Any]) -> str:
    """A message that the scripted agent plays."""
    return json.dumps(steps)


# 400 deltas in two seconds, each a line of 20 bytes.
LONG = script({"count": 400, "size": 20, "pace_ms": 5})
# A turn that no test waits for: it goes on until it is stopped.
ENDLESS = script({"count": 200_000, "size": 20, "pace_ms": 5})


class Server:
    """A server on a free port, with a data folder that outlives it."""

    def __init__(self, data: Path, *options: str) -> None:
        self.data = data
        self._options = options
        self.starts = 0
        self.addr = "127.0.0.1:0"
        self.start()

    def start(self) -> None:
        """Starts it, again on the same port, which a connection of somebody else may have for a while."""
        for _ in range(600):
            if self._listens():
                self.starts += 1
                return
            self.end()
            time.sleep(0.1)
        raise AssertionError("the server did not say where it listens")

    def _listens(self) -> bool:
        command = [program(), "serve", "--listen", self.addr, "--data", str(self.data), *self._options]
        environment = os.environ | {"AGENT_RUNTIME_ON_SHUTDOWN": "stop", "RUST_LOG": "error"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("listening on "):
                self.addr = line.removeprefix("listening on ").strip()
                return True
        return False

    @property
    def key(self) -> str:
        """What callers show."""
        return (self.data / "key").read_text().strip()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.addr.rpartition(":")[2])

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self.process.send_signal(number)

    def stand_still(self) -> None:
        """Until it gets SIGCONT. All of its threads stand when this returns."""
        self.signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def kill(self) -> None:
        """As a crash would."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Politely, with its agents."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(120)
        if self.process.stdout is not None:
            self.process.stdout.close()


class Passing:
    """What is known of a connection through a proxy."""

    def __init__(self) -> None:
        self.heard, self.forgotten = threading.Event(), threading.Event()
        self.is_over = False


class Proxy:
    """A connection to a server that can be cut, and whose answers can be lost.

    With `patience` it has enough of a connection over which nothing went for so long, either way: it cuts it, or just
    forgets it, so that nothing more arrives and nobody is told.
    """

    def __init__(self, port: int, patience: float | None = None, *, forgets: bool = False) -> None:
        self._port = port
        self._patience = patience
        self._forgets = forgets
        self.accepted = self.silenced = 0
        self.refuses = 0
        """How many more connections end as soon as they are made."""
        self.hesitates = 0.0
        """Seconds before anything goes over a new connection."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.addr = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.loses_answers = False
        self.answered = 0
        """Bytes that came from the server."""
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends all connections; new ones are taken."""
        pairs, self._pairs = self._pairs, []
        for side in [side for pair in pairs for side in pair]:
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def recover(self) -> None:
        """Ends all connections; what is answered on new ones arrives."""
        self.loses_answers = False
        self.cut()

    def close(self) -> None:
        """Ends it."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuses > 0:
                self.refuses -= 1
                client.close()
                continue
            time.sleep(self.hesitates)
            try:
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                # It is down, as whoever connects is to see.
                client.close()
                continue
            self._pairs.append((client, server))
            self.accepted += 1
            passing = Passing()
            threading.Thread(target=self._copy, args=(client, server, False, passing), daemon=True).start()
            threading.Thread(target=self._copy, args=(server, client, True, passing), daemon=True).start()
            if self._patience is not None:
                threading.Thread(target=self._listen, args=(client, server, passing), daemon=True).start()

    def _listen(self, client: socket.socket, server: socket.socket, passing: Passing) -> None:
        while passing.heard.wait(self._patience):
            passing.heard.clear()
            if passing.is_over:
                return
        self.silenced += 1
        if self._forgets:
            passing.forgotten.set()
            return
        for side in (client, server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def _copy(self, source: socket.socket, sink: socket.socket, answers: bool, passing: Passing) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if passing.forgotten.is_set():
                    continue
                passing.heard.set()
                if answers:
                    self.answered += len(data)
                    if self.loses_answers:
                        continue
                sink.sendall(data)
        for side in (source, sink):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
        # Who hung up is not silent.
        passing.is_over = True
        passing.heard.set()

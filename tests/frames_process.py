"""A real server process and a client that speaks frames by hand, for the tests of the frames door.

`FramesServer` starts `app.run` in a process of its own; `Client` is a blocking socket with
the wire's encoders, so that a test can also send what no honest host would.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pgannex_wire.frame import BULK, LAST, SINGLE, Frame, FrameReader, FrameType, pack_frame
from pgannex_wire.message import Arg, Column, End, Failure, Hello, Open, Welcome
from pgannex_wire.values import (
    FLOAT4_ARRAY,
    TEXT_OID,
    ColumnBlock,
    pack_texts,
    split_values,
    unpack_floats,
)

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 60.0
_START = "import sys; from pgannex_server import app, config; sys.exit(app.run(config.load(sys.argv[1])))"
_BACKGROUND = (FrameType.WELCOME, FrameType.HEARTBEAT, FrameType.NOTICE)


def until(what: str, check: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Wait until `check()` is true; fail with `what` if it never is."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"never happened: {what}")


class FramesServer:
    """The server in a process of its own. `config` is TOML; `server` adds to its [server] section."""

    def __init__(self, config: str = "", server: str = "", environ: Mapping[str, str] | None = None) -> None:
        # not pytest's own folder: a unix socket's path has room for about 100 characters
        self._folder = tempfile.TemporaryDirectory(prefix="pgannex-")
        self.folder = Path(self._folder.name)
        self.socket = str(self.folder / "frames.sock")
        self.config = self.folder / "pgannex.toml"
        self.log = self.folder / "log"
        self.write(config, server)
        self.environ = dict(environ or {})
        self.process = self.launch()
        self.wait_ready()

    def write(self, config: str, server: str = "") -> None:
        """The configuration file; takes effect at start or at SIGHUP."""
        users = "" if "database_users" in server else f'database_users = ["{os.getuid()}"]'
        self.config.write_text(
            f'[server]\nsocket = "{self.socket}"\nstate_dir = "{self.folder}/state"\n'
            f"test_models = true\n{users}\n{server}\n"
            f'[http]\nsocket = ""\n{config}\n'
        )

    def launch(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(str(ROOT / part) for part in ("wire", "server"))
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", _START, str(self.config)],
                env={**os.environ, "PYTHONPATH": path, **self.environ},
                stdout=log,
                stderr=log,
            )

    def wait_ready(self) -> None:
        def answers() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended: {self.log.read_text()}")
            try:
                Client(self.socket).close()
            except OSError:
                return False
            return True

        until("the server answers", answers)

    def stop(self) -> int:
        """SIGTERM and its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._folder.cleanup()

    def client(self) -> Client:
        return Client(self.socket)

    def rows(self, verb: str, *names: str) -> list[dict[str, str | None]]:
        """A stat verb's rows, seen by somebody who may see all."""
        with self.client() as client:
            client.send(stat_open(verb, names))
            frame = client.expect(FrameType.ROWS)
            block = ColumnBlock.decode(frame.payload)
            columns = [split_values(column, block.nrows) for column in block.columns]
            texts = [[None if v is None else v.decode() for v in column] for column in columns]
            return [dict(zip(names, row, strict=True)) for row in zip(*texts, strict=True)]

    def in_flight(self) -> int:
        """Requests that run, the one that asks not counted."""
        return len(self.rows("stat_activity", "verb"))

    def workers(self, model: str = "echo") -> list[int]:
        """Pids of a model's workers that are ready."""
        rows = self.rows("stat_models", "model", "pid", "state")
        return [int(r["pid"] or 0) for r in rows if r["model"] == model and r["state"] == "ready"]


@contextmanager
def serving(
    config: str = "", server: str = "", environ: Mapping[str, str] | None = None
) -> Iterator[FramesServer]:
    made = FramesServer(config, server, environ)
    try:
        yield made
    except BaseException:
        print(made.log.read_text())
        raise
    finally:
        made.close()


class Client:
    """One connection. HELLO is sent at once, as a host does."""

    def __init__(self, path: str, hello: bool = True) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(path)
        self._reader = FrameReader()
        self._frames: list[Frame] = []
        self.window = 2
        self.seen: list[int] = []
        if hello:
            self.send(Hello(1, 0, os.getpid(), "test", "db", "app").encode())

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def next(self) -> Frame:
        """The next frame. EOFError where the server closed."""
        while not self._frames:
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError
            self._frames += self._reader.feed(data)
        frame = self._frames.pop(0)
        self.seen.append(frame.type)
        if frame.type == FrameType.WELCOME:
            self.window = Welcome.decode(frame.payload).window
        return frame

    def expect(self, *types: int) -> Frame:
        """The next frame that is no heartbeat, notice or welcome; must be one of `types`."""
        while True:
            frame = self.next()
            if frame.type in types:
                return frame
            if frame.type == FrameType.ERROR:
                raise AssertionError(f"the server says {Failure.decode(frame.payload)}")
            assert frame.type in _BACKGROUND, f"unexpected frame 0x{frame.type:02x}"

    def failure(self) -> Failure:
        """The ERROR that must come, whatever comes before it."""
        while True:
            frame = self.next()
            if frame.type == FrameType.ERROR:
                return Failure.decode(frame.payload)
            assert frame.type != FrameType.END, "the request ended well"

    def embed(self, text: str, **how: Any) -> array[float]:
        """One scalar call, to its END."""
        self.send(embed_open(text, **how))
        block = ColumnBlock.decode(self.expect(FrameType.ROWS).payload)
        self.expect(FrameType.END)
        vector = unpack_floats(block.columns[0], 1)[0]
        assert vector is not None
        return vector

    def batch(self, seq: int, keys: Sequence[str], texts: Sequence[str | None], last: bool = False) -> None:
        block = ColumnBlock(len(keys), (pack_texts(keys), pack_texts(texts)))
        self.send(pack_frame(FrameType.BATCH, block.encode(), LAST if last else 0, seq))


class Answer:
    """What came back for a request with batches."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.vectors: list[bytes | None] = []
        self.errors: list[str | None] = []
        self.answered: list[int] = []
        self.end: End | None = None


def bulk(
    client: Client, texts: Sequence[str | None], per_batch: int, flags: int = BULK, **how: Any
) -> Answer:
    """A whole request with batches of (key, input), as a host would run it, with credits."""
    client.send(embed_open(None, flags=flags, outputs=("key", "embedding", "error"), **how))
    answer = Answer()
    count = -(-len(texts) // per_batch)
    sent = unanswered = 0
    if not count:
        client.send(pack_frame(FrameType.DONE))
    while answer.end is None:
        while sent < count and unanswered < client.window:
            at = range(sent * per_batch, min(len(texts), (sent + 1) * per_batch))
            client.batch(sent, [str(i) for i in at], [texts[i] for i in at], last=sent == count - 1)
            sent += 1
            unanswered += 1
        frame = client.expect(FrameType.ROWS, FrameType.END)
        if frame.type == FrameType.END:
            answer.end = End.decode(frame.payload)
            continue
        block = ColumnBlock.decode(frame.payload)
        answer.keys += [k.decode() for k in split_values(block.columns[0], block.nrows) if k is not None]
        vectors = unpack_floats(block.columns[1], block.nrows)
        answer.vectors += [None if v is None else v.tobytes() for v in vectors]
        errors = split_values(block.columns[2], block.nrows)
        answer.errors += [None if e is None else e.decode() for e in errors]
        if frame.flags & LAST:
            unanswered -= 1
            answer.answered.append(frame.seq)
    return answer


def embed_open(
    text: str | None,
    model: str = "echo",
    kwargs: Mapping[str, Any] | None = None,
    flags: int = SINGLE,
    deadline_ms: int = 0,
    outputs: Sequence[str] = ("embedding",),
    role: str = "app",
    grant: str = "",
    on_error: str = "",
) -> bytes:
    """An OPEN of embed; with `text` None the columns key and input follow in batches."""
    args = [Arg("model", TEXT_OID, model.encode())]
    if text is not None:
        args.append(Arg("input", TEXT_OID, text.encode()))
    if kwargs is not None:
        args.append(Arg("kwargs", 3802, b"\x01" + json.dumps(kwargs).encode()))
    if on_error:
        args.append(Arg("on_error", TEXT_OID, on_error.encode()))
    columns = () if text is not None else (Column("key", TEXT_OID), Column("input", TEXT_OID))
    oids = {"embedding": FLOAT4_ARRAY, "tokens": 23}
    wanted = tuple(Column(name, oids.get(name, TEXT_OID)) for name in outputs)
    return Open("embed", flags, deadline_ms, role, grant, tuple(args), columns, wanted).encode()


def stat_open(
    verb: str, names: Sequence[str], role: str = "watcher", grant: str = '{"see_all": true}'
) -> bytes:
    return Open(verb, SINGLE, 0, role, grant, (), (), tuple(Column(name, 0) for name in names)).encode()

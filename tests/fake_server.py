"""A server on the wire that misbehaves on request: what a host of the wrapper must survive.

It speaks PROTOCOL.md with `pgannex_wire` and no engine: a text's embedding is its length
in bytes and its tokens are its words. The argument `model` of a request names a behaviour
of `BEHAVIOURS`; anything else is answered properly. `python tests/fake_server.py SOCKET`
serves until it is ended. Real models, queues and limits are the real server's business.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "wire"))

from pgannex_wire import frame, message, values
from pgannex_wire.errors import WireError
from pgannex_wire.frame import Frame, FrameReader, FrameType, pack_frame

WINDOW = 4
Texts = list[str | None]


class Connection:
    """One client: frames in by `frames`, frames out by `send`."""

    def __init__(self, peer: socket.socket) -> None:
        self.peer = peer
        self.reader = FrameReader()
        self.waiting: list[Frame] = []
        self.hello: message.Hello | None = None
        self.window = WINDOW

    def welcome(self, hello: message.Hello) -> None:
        """Answer HELLO. A client called `window=N` is told that window."""
        self.hello = hello
        word, _, number = hello.application_name.partition("=")
        told = int(number) if word == "window" else WINDOW
        self.window = min(max(told, 1), 64)
        self.send(message.Welcome(1, 0, told, frame.MAX_FRAME, "fake/1", "0").encode())

    def hears(self, seconds: float) -> bool:
        """Whether the client says more within this time."""
        return bool(self.waiting) or bool(select.select([self.peer], [], [], seconds)[0])

    def next_frame(self) -> Frame | None:
        """The next frame, None when the client has closed."""
        while not self.waiting:
            data = self.peer.recv(1 << 16)
            if not data:
                return None
            self.waiting = self.reader.feed(data)
        return self.waiting.pop(0)

    def send(self, *frames: bytes) -> None:
        self.peer.sendall(b"".join(frames))


class Request:
    """An OPEN and what follows it."""

    def __init__(self, connection: Connection, opened: message.Open) -> None:
        self.connection = connection
        self.open = opened
        self.args = {a.name: values.decode_value(a.value, a.oid, bool(a.format)) for a in opened.args}
        self.rows = 0
        self.parts: list[Frame] = []

    def batches(self) -> Iterator[tuple[int, dict[str, Texts]]]:
        """Number and text columns of each batch; the args of a SINGLE request are one."""
        if self.open.flags & frame.SINGLE:
            yield 0, {name: [None if cell is None else str(cell)] for name, cell in self.args.items()}
            return
        while (taken := self.connection.next_frame()) is not None:
            if taken.type == FrameType.BATCH:
                block = values.ColumnBlock.decode(taken.payload)
                names = [column.name for column in self.open.columns]
                cells = (_texts(column, block.nrows) for column in block.columns)
                yield taken.seq, dict(zip(names, cells, strict=True))
            if taken.type == FrameType.PART:
                self.parts.append(taken)
                continue
            if taken.type == FrameType.DONE or taken.flags & frame.LAST:
                return
        raise ConnectionError("the client closed before the last batch")

    def answer(self, seq: int, columns: dict[str, Texts], flags: int = frame.LAST) -> bytes:
        """The ROWS frame for a batch."""
        texts = columns.get("input", [])
        self.rows += len(texts)
        out = tuple(self._output(column.name, columns, texts) for column in self.open.outputs)
        return pack_frame(FrameType.ROWS, values.ColumnBlock(len(texts), out).encode(), flags, seq)

    def end(self) -> bytes:
        return message.End(self.rows, 7, 1, 20, 300, "fake", str(self.args.get("model"))).encode()

    @staticmethod
    def _output(name: str, columns: dict[str, Texts], texts: Texts) -> values.RawColumn:
        if name in columns:
            return values.pack_texts(columns[name])
        if name == "embedding":
            floats = [0.0 if text is None else float(len(text.encode())) for text in texts]
            return values.pack_float4s(struct.pack(f"<{len(floats)}f", *floats), len(floats), 1)
        if name == "tokens":
            return values.pack_fixed(values.INT4, 4, [len((text or "").split()) for text in texts])
        return values.pack_texts([None] * len(texts))


def _texts(column: values.RawColumn, nrows: int) -> Texts:
    if column.encoding not in (values.SEND, values.TEXT):
        return []  # nothing here looks at numbers
    return [None if cell is None else cell.decode() for cell in values.split_values(column, nrows)]


def proper(request: Request) -> None:
    """Answer every batch, then END."""
    for seq, columns in request.batches():
        request.connection.send(request.answer(seq, columns))
    request.connection.send(request.end())


def silent(request: Request) -> None:
    """Never answer; not even a heartbeat."""
    while request.connection.next_frame() is not None:
        pass


def beating(request: Request) -> None:
    """Heartbeats, but never an answer."""
    while True:
        request.connection.send(message.Heartbeat(1, 0).encode())
        time.sleep(0.2)


def garbage(request: Request) -> None:
    """Bytes that are no frame."""
    request.connection.send(b"\x00\x00\x00\x05\x33\x00\x00\x00\x00\x00\x00\x00hello")


def huge(request: Request) -> None:
    """A header that claims more than any frame may have."""
    request.connection.send(struct.pack("!IBBHI", 0xFFFFFFF0, FrameType.ROWS, 1, 0, 0))


def cut(request: Request) -> None:
    """Close in the middle of a frame."""
    for seq, columns in request.batches():
        request.connection.send(request.answer(seq, columns)[:-3])
        return


def gone(request: Request) -> None:
    """Close without an answer."""


def bad_block(request: Request) -> None:
    """A column that claims more than the frame holds."""
    body = struct.pack("!IH", 1, len(request.open.outputs)) + struct.pack("!BI", 0, 99999)
    request.connection.send(pack_frame(FrameType.ROWS, body, frame.LAST, 0))


def bad_text(request: Request) -> None:
    """A text that is not UTF-8, in every output."""
    column = values.pack_values([b"ab\xff\xfe"])
    block = values.ColumnBlock(1, (column,) * len(request.open.outputs))
    request.connection.send(pack_frame(FrameType.ROWS, block.encode(), frame.LAST, 0), request.end())


def extra_rows(request: Request) -> None:
    """One row more than there were inputs."""
    for seq, columns in request.batches():
        more = {name: [*cells, "extra"] for name, cells in columns.items()}
        request.connection.send(request.answer(seq, more))
    request.connection.send(request.end())


def fewer_rows(request: Request) -> None:
    """One row less than there were inputs."""
    for seq, columns in request.batches():
        request.connection.send(request.answer(seq, {name: cells[1:] for name, cells in columns.items()}))
    request.connection.send(request.end())


def early_end(request: Request) -> None:
    """END before anything is answered."""
    request.connection.send(request.end())


def welcoming(request: Request) -> None:
    """WELCOME once more, with a window of its own."""
    request.connection.send(message.Welcome(1, 0, 1 << 31, frame.MAX_FRAME, "fake/1", "0").encode())


def failing(request: Request) -> None:
    """An error with everything in it, after the first answer."""
    error = WireError("overloaded", "the queue is full: 512 requests", detail="naïve 🐘", hint="try again")
    for seq, columns in request.batches():
        request.connection.send(request.answer(seq, columns), message.Failure.of(error).encode())
        return


def odd_state(request: Request) -> None:
    """An error whose SQLSTATE is none."""
    request.connection.send(message.Failure("internal", "00000", "not a success").encode())


def noticing(request: Request) -> None:
    """A notice at each level, and one that this version does not know."""
    for level in (0, 1, 2, 3, 9):
        request.connection.send(message.Notice(level, f"level {level}", "a detail", "a hint").encode())
    request.connection.send(pack_frame(0x40 | 0x8F, b"from a newer minor"))
    proper(request)


def needing(request: Request) -> None:
    """Ask for the artifact named by `input`; its parts' sizes are the tokens' place."""
    wanted = str(request.args.get("input"))
    request.connection.send(message.Need(wanted).encode())
    total, parts, missing, name = 0, 0, False, ""
    while (taken := request.connection.next_frame()) is not None:
        part = message.Part.decode(taken.payload)
        missing = bool(taken.flags & frame.MISSING)
        total, parts, name = total + len(part.data), parts + 1, part.hash
        if taken.flags & frame.LAST:
            break
    notice = message.Notice(2, f"{name}: {parts} parts, {total} bytes, missing {missing}")
    request.connection.send(notice.encode())
    proper(request)


def needing_rows(request: Request) -> None:
    """Ask for the artifact h1 first, and answer the batches of a query while it comes."""
    request.connection.send(message.Need("h1").encode())
    for seq, columns in request.batches():
        request.connection.send(request.answer(seq, columns))
    while not (request.parts and request.parts[-1].flags & frame.LAST):
        taken = request.connection.next_frame()
        if taken is None:
            raise ConnectionError("the client closed before the last part")
        request.parts += [taken] if taken.type == FrameType.PART else []
    size = sum(len(message.Part.decode(part.payload).data) for part in request.parts)
    notice = message.Notice(2, f"h1: {len(request.parts)} parts, {size} bytes")
    request.connection.send(notice.encode(), request.end())


def needing_late(request: Request) -> None:
    """Answer, then ask for an artifact, and end the request before it can come."""
    for seq, columns in request.batches():
        answer = request.answer(seq, columns)
        request.connection.send(answer, message.Need("h1").encode(), request.end())


def hoarding(request: Request) -> None:
    """Take batches without an answer until the client sends no more; say how many, then answer."""
    held: list[bytes] = []
    patient = True
    for seq, columns in request.batches():
        held.append(request.answer(seq, columns))
        if patient and len(held) >= request.connection.window and not request.connection.hears(0.3):
            held.insert(0, message.Notice(2, f"{len(held)} batches unanswered").encode())
            patient = False
        if not patient:
            request.connection.send(*held)
            held.clear()
    request.connection.send(*held, request.end())


def bytewise(request: Request) -> None:
    """A proper answer, one byte at a time."""
    for seq, columns in request.batches():
        for byte in request.answer(seq, columns):
            request.connection.send(bytes((byte,)))
    request.connection.send(request.end())


def slow_reader(request: Request) -> None:
    """Take batches slowly and answer all of them at the end of what the window allows."""
    held = []
    for seq, columns in request.batches():
        held.append(request.answer(seq, columns))
        time.sleep(0.02)
        if len(held) == WINDOW:
            request.connection.send(*held)
            held.clear()
    request.connection.send(*held, request.end())


def split_rows(request: Request) -> None:
    """Each row in a ROWS frame of its own, and empty frames between them."""
    for seq, columns in request.batches():
        count = len(columns.get("input", []))
        for i in range(count):
            row = {name: cells[i : i + 1] for name, cells in columns.items()}
            empty = values.ColumnBlock(0, ()).encode()
            last = frame.LAST if i == count - 1 else 0
            request.connection.send(pack_frame(FrameType.ROWS, empty, 0, seq), request.answer(seq, row, last))
    request.connection.send(request.end())


def then_close(request: Request) -> None:
    """Answer properly, then close: the connection that the client keeps is dead."""
    proper(request)


BEHAVIOURS: dict[str, Callable[[Request], None]] = {
    f.__name__: f
    for f in (
        silent, beating, garbage, huge, cut, gone, bad_block, bad_text, extra_rows, fewer_rows, early_end,
        welcoming, failing, odd_state, noticing, needing, needing_rows, needing_late, hoarding, bytewise,
        slow_reader, split_rows, then_close,
    )
}  # fmt: skip


def pushed(request: Request) -> None:
    """Acknowledge every batch; one empty frame of rows at the end."""
    for seq, _columns in request.batches():
        request.connection.send(pack_frame(FrameType.ACK, seq=seq))
    request.connection.send(request.answer(0, {}), request.end())


def rows_too_early(request: Request) -> None:
    """Rows for each batch, again and again, before the input is at its end."""
    for seq, columns in request.batches():
        request.connection.send(*[request.answer(seq, columns, 0)] * 1000)
        request.connection.send(pack_frame(FrameType.ACK, seq=seq))
    request.connection.send(request.end())


def end_too_early(request: Request) -> None:
    """END after the first batch."""
    next(request.batches())
    request.connection.send(request.end())


def ack_too_many(request: Request) -> None:
    """Every batch acknowledged twice."""
    for seq, _columns in request.batches():
        request.connection.send(pack_frame(FrameType.ACK, seq=seq) * 2)
    request.connection.send(request.end())


def many_rows(request: Request) -> None:
    """Frames of rows after the end, more than anybody should park."""
    total = sum(len(columns.get("input", [])) for _seq, columns in request.batches())
    for _ in range(64):
        request.connection.send(request.answer(0, {"input": ["w " * 10] * 10_000}, 0))
    request.connection.send(request.answer(0, {"input": ["w " * total]}), request.end())


def needing_on_the_way(request: Request) -> None:
    """Ask for an artifact in the middle of the input, and take it before going on."""
    for seq, _columns in request.batches():
        if seq == 1:
            request.connection.send(message.Need("h1").encode())
        request.connection.send(pack_frame(FrameType.ACK, seq=seq))
    missing = [part for part in request.parts if part.flags & frame.MISSING]
    request.connection.send(message.Notice(2, f"{len(request.parts)} parts, {len(missing)} missing").encode())
    request.connection.send(request.answer(0, {}), request.end())


PUSHED: dict[str, Callable[[Request], None]] = {
    f.__name__: f
    for f in (pushed, rows_too_early, end_too_early, ack_too_many, many_rows, needing_on_the_way)
}
CLOSES = {"garbage", "huge", "cut", "gone", "bad_block", "early_end", "welcoming", "failing", "odd_state",
          "then_close"}  # fmt: skip


def answer(request: Request) -> str:
    """Serve one request as its model says; returns the model's name."""
    model = str(request.args.get("model", ""))
    if request.open.flags & frame.PUSH:
        PUSHED.get(model, pushed)(request)
    else:
        BEHAVIOURS.get(model, proper)(request)
    return model


def serve_client(peer: socket.socket) -> None:
    """HELLO, then requests until either end closes."""
    connection = Connection(peer)
    try:
        while (taken := connection.next_frame()) is not None:
            if taken.type == FrameType.HELLO:
                connection.welcome(message.Hello.decode(taken.payload))
            elif taken.type == FrameType.OPEN:
                request = Request(connection, message.Open.decode(taken.payload, taken.flags))
                if answer(request) in CLOSES:
                    break
    except OSError:
        return  # the client went away: that is how it cancels
    finally:
        peer.close()


def serve(path: str, buffer: int = 0) -> None:
    """Listen on `path`; `buffer` > 0 gives the sockets buffers of that many bytes."""
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    Path(path).chmod(0o666)
    listener.listen(256)
    while True:
        peer, _address = listener.accept()
        if buffer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        threading.Thread(target=serve_client, args=(peer,), daemon=True).start()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)

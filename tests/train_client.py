"""Training over the frames socket by hand: a table of numbers, the call, the rows, the answer.

`Training` pushes rows as a host of the wrapper would, with credits, and can stop at any point;
`processes_of` finds what a server has forked, for tests that kill it or weigh it.
"""

from __future__ import annotations

import json
import random
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frames_process import Client, FramesServer
from pgannex_wire.frame import BULK, PUSH, SINGLE, FrameType, pack_frame
from pgannex_wire.message import Arg, Column, End, Failure, Notice, Open
from pgannex_wire.values import (
    BYTEA,
    FIXED,
    FLOAT8,
    INT4,
    JSONB,
    TEXT_OID,
    ColumnBlock,
    RawColumn,
    decode_value,
    split_values,
)

ROWS_PER_BATCH = 4000
OUTPUTS = (Column("part", INT4), Column("data", BYTEA), Column("result", JSONB))
FOREVER: Mapping[str, object] = {"n_estimators": 10_000_000}
"""Trees for hours: a fit that only ends when it is killed."""


@dataclass(frozen=True)
class Numbers:
    """Columns of float8; the last one, y, is a sum of the others and a little noise."""

    rows: int
    columns: tuple[array[float], ...]

    @property
    def names(self) -> list[str]:
        return [f"x{i}" for i in range(len(self.columns) - 1)] + ["y"]

    def described(self) -> list[dict[str, object]]:
        """The spec's columns."""
        return [
            {
                "name": name,
                "pg_type": "float8",
                "nullable": False,
                "label": name == "y",
                "position": position,
                "array": False,
            }
            for position, name in enumerate(self.names, 1)
        ]

    def blocks(self) -> list[bytes]:
        """The payloads of the BATCH frames."""
        made = []
        for at in range(0, self.rows, ROWS_PER_BATCH):
            cut = [column[at : at + ROWS_PER_BATCH] for column in self.columns]
            raw = tuple(RawColumn(FIXED, b"\x08\x00" + cells.tobytes()) for cells in cut)
            made.append(ColumnBlock(len(cut[0]), raw).encode())
        return made


def numbers(rows: int, features: int = 4) -> Numbers:
    """The same numbers for the same size."""
    source = random.Random(rows * 31 + features)
    columns = [array("d", (source.random() for _ in range(rows))) for _ in range(features)]
    y = array("d", (sum(cells) + source.random() / 100 for cells in zip(*columns, strict=True)))
    return Numbers(rows, (*columns, y))


def spec_of(table: Numbers, **changes: object) -> dict[str, object]:
    """What pgml.train would say, small and quick."""
    return {
        "project": "tests",
        "task": "regression",
        "algorithm": "xgboost",
        "runtime": None,
        "hyperparams": {"n_estimators": 10},
        "search": None,
        "search_params": {},
        "search_args": {},
        "test_size": 0.25,
        "test_sampling": "last",
        "preprocess": {},
        "seed": 7,
        "joint": False,
        "background": False,
        "columns": table.described(),
        **changes,
    }


@dataclass
class Answer:
    """What came back: rows, of a training as (part, data, result), lines, and how it ended."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    end: End | None = None
    failure: Failure | None = None

    @property
    def result(self) -> dict[str, Any]:
        assert self.failure is None, self.failure
        found: dict[str, Any] = self.rows[0][2]
        return found

    @property
    def artifact(self) -> bytes:
        """The parts put together."""
        assert [part for part, _data, _result in self.rows] == list(range(len(self.rows)))
        return b"".join(data or b"" for _part, data, _result in self.rows)


class Training:
    """One training on a connection of its own."""

    def __init__(self, server: FramesServer, table: Numbers, spec: object = None, **how: Any) -> None:
        self.client = Client(server.socket)
        while FrameType.WELCOME not in self.client.seen:
            self.client.next()
        self.table = table
        self.spec = spec if spec is not None else spec_of(table)
        self.answer = Answer()
        self.outputs: Sequence[Column] = OUTPUTS
        self._unanswered = 0
        self._seq = 0
        self.client.send(train_open(self.spec, table.names, **how))

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *exc: object) -> None:
        self.client.close()

    def push(self, payloads: Sequence[bytes]) -> bool:
        """Send batches as credits allow; False where the server has answered already."""
        for payload in payloads:
            while self._unanswered >= self.client.window:
                if not self._take():
                    return False
            self.client.send(pack_frame(FrameType.BATCH, payload, 0, self._seq))
            self._seq += 1
            self._unanswered += 1
        return True

    def finish(self) -> None:
        self.client.send(pack_frame(FrameType.DONE))

    def send_all(self) -> Training:
        """All rows, and that they are all."""
        if self.push(self.table.blocks()):
            self.finish()
        return self

    def wait(self) -> Answer:
        """Everything that comes until END or ERROR."""
        while self._take():
            pass
        return self.answer

    def acknowledged(self) -> Training:
        """Wait until no batch is unanswered."""
        while self._unanswered and self._take():
            pass
        return self

    def _take(self) -> bool:
        """One frame; False after the last."""
        answer = self.answer
        if answer.end is not None or answer.failure is not None:
            return False
        frame = self.client.next()
        if frame.type == FrameType.ACK:
            self._unanswered -= 1
        elif frame.type == FrameType.NOTICE:
            answer.lines.append(Notice.decode(frame.payload).message)
        elif frame.type == FrameType.ROWS:
            answer.rows += rows_of(frame.payload, self.outputs)
        elif frame.type == FrameType.END:
            answer.end = End.decode(frame.payload)
        elif frame.type == FrameType.ERROR:
            answer.failure = Failure.decode(frame.payload)
        else:
            assert frame.type == FrameType.HEARTBEAT, frame
        return answer.end is None and answer.failure is None


def train(server: FramesServer, table: Numbers, spec: object = None, **how: Any) -> Answer:
    """A whole training."""
    with Training(server, table, spec, **how) as training:
        return training.send_all().wait()


def submit(server: FramesServer, table: Numbers, role: str = "app", **changes: object) -> str:
    """A training in the background; its job."""
    answer = train(server, table, spec_of(table, background=True, **changes), role=role)
    assert [(part, data) for part, data, _result in answer.rows] == [(None, None)]
    return str(answer.result["job"])


def ask(
    server: FramesServer,
    verb: str,
    outputs: Sequence[Column] = OUTPUTS,
    role: str = "app",
    grant: str = "",
    **args: str,
) -> Answer:
    """A request without rows: job_result or job_control."""
    packed = tuple(Arg(name, TEXT_OID, value.encode()) for name, value in args.items())
    with Training.__new__(Training) as asked:
        asked.client, asked.answer, asked.outputs = Client(server.socket), Answer(), outputs
        while FrameType.WELCOME not in asked.client.seen:
            asked.client.next()
        asked.client.send(Open(verb, SINGLE, 0, role, grant, packed, (), tuple(outputs)).encode())
        return asked.wait()


def control(server: FramesServer, job: str, action: str, **how: str) -> Answer:
    """cancel or forget; the row is (state, detail, None)."""
    outputs = (Column("state", TEXT_OID), Column("detail", TEXT_OID), Column("job", TEXT_OID))
    return ask(server, "job_control", outputs, job=job, action=action, **how)


def train_open(
    spec: object, names: Sequence[str], deadline_ms: int = 0, role: str = "app", grant: str = ""
) -> bytes:
    """OPEN of train. A spec that is bytes goes as it is."""
    text = spec if isinstance(spec, bytes) else json.dumps(spec).encode()
    args = (Arg("spec", JSONB, b"\x01" + text),)
    columns = tuple(Column(name, FLOAT8) for name in names)
    return Open("train", PUSH | BULK, deadline_ms, role, grant, args, columns, OUTPUTS).encode()


def rows_of(payload: bytes, outputs: Sequence[Column]) -> list[tuple[Any, ...]]:
    """The rows of a block of three columns, by their usual types."""
    block = ColumnBlock.decode(payload)
    cells = []
    for column, output in zip(block.columns, outputs, strict=True):
        values = split_values(column, block.nrows)
        cells.append([_cell(value, output.oid) for value in values])
    return list(zip(*cells, strict=True))


def _cell(value: bytes | None, oid: int) -> Any:
    if value is None or oid == BYTEA:
        return value
    return json.loads(value[1:]) if oid == JSONB else decode_value(value, oid)


def processes_of(pid: int) -> list[int]:
    """A process and all that came from it, the oldest generation first."""
    found = [pid]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(stat[1]) == pid and stat[0] != "Z":
                found += processes_of(int(entry.name))
    return found


def template_of(server: int) -> int:
    """The process that a server's fits are forked from, 0 if there is none yet."""
    for pid in processes_of(server)[1:]:
        if _is_template(pid) and not _is_template(_parent(pid)):
            return pid
    return 0


def fits_of(server: int) -> list[int]:
    """The processes that fit now."""
    template = template_of(server)
    return processes_of(template)[1:] if template else []


def _is_template(pid: int) -> bool:
    """A fit is a copy of the template, and is called the same."""
    try:
        return b"tabular.template" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def weight(pids: Sequence[int]) -> int:
    """Bytes that the processes take together; what they share counts once."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total * 1024

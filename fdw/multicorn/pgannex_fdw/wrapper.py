"""The class that Multicorn2 calls: planner hooks, the scan, and what ends a scan.

One instance serves one foreign table in one backend; its scans run as generators. Where
Postgres wants control back (cancel, termination, a barrier), the generator yields one row
of NULLs: no strict `=` lets it pass, and the executor looks for interrupts before it asks
for the next row. So a cancel has its own SQLSTATE, and no Postgres error ever jumps over
Python's frames. Multicorn does not end a scan on error; the transaction hooks do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import count, repeat
from typing import Any, NoReturn

from multicorn import ForeignDataWrapper
from pgannex_wire import values
from pgannex_wire.errors import WireError
from pgannex_wire.frame import BULK, LAST, SINGLE, TEXT_RESULTS, FrameType, pack_frame
from pgannex_wire.message import Open
from pgannex_wire.values import ColumnBlock

from pgannex_fdw import backend, explain, gate, plan, report, rows
from pgannex_fdw.client import Call, Request
from pgannex_fdw.options import ColumnSpec, read_table
from pgannex_fdw.plan import ScanPlan

BATCH_ROWS = 512
BATCH_BYTES = 1024 * 1024


class PgannexForeignDataWrapper(ForeignDataWrapper):  # type: ignore[misc]  # Multicorn has no types
    """A foreign table of pgannex under Multicorn2."""

    _startup_cost = 0

    def __init__(self, fdw_options: Mapping[str, str], fdw_columns: Mapping[str, Any]) -> None:
        super().__init__(fdw_options, fdw_columns)
        try:
            self._spec = read_table(fdw_options, fdw_columns)
        except WireError as error:
            report.raise_error(error, fdw_options.get("verb", ""))
        self._path_keys = plan.path_keys(self._spec)
        self._level = 1
        self._running: list[tuple[int, Request]] = []
        self._figures = explain.Figures()

    def get_rel_size(self, quals: Iterable[Any], columns: Collection[str]) -> tuple[int, int]:
        try:
            return plan.estimate(self._spec, quals, columns)
        except WireError as error:
            self._fail(error)

    def get_path_keys(self) -> list[tuple[tuple[str, ...], int]]:
        return self._path_keys

    def explain(self, quals: Iterable[Any], columns: Collection[str], **_more: Any) -> list[str]:
        try:
            return explain.lines(self._spec, plan.plan_scan(self._spec, quals), self._figures)
        except WireError as error:
            return [*explain.lines(self._spec, None, self._figures), f"Error: {error.message}"]

    def execute(self, quals: Iterable[Any], columns: Collection[str], **_more: Any) -> Iterator[Any]:
        try:
            scan = plan.plan_scan(self._spec, quals)
            self._check(scan)
            if scan.empty:
                return iter(())
            wanted = plan.wanted_outputs(self._spec, columns)
            call = self._call(scan, wanted)
            request = Request(call)
        except WireError as error:
            self._fail(error)
        self._running.append((self._level, request))
        return self._scan(scan, wanted, request)

    def _check(self, scan: ScanPlan) -> None:
        spec = self._spec
        if spec.query_column:
            raise WireError(
                "unknown_verb",
                f"verb {spec.verb} over the rows of a query needs the native host",
                detail="a wrapper in Python cannot run a query inside the scan",
                hint="pgannex install --host native runs it; some verbs take an array: input = ANY (…)",
            )
        if scan.missing and not scan.empty:
            raise plan.missing_error(spec, scan)

    def _call(self, scan: ScanPlan, wanted: tuple[ColumnSpec, ...]) -> Call:
        spec, host = self._spec, backend.current()
        deadline_ms = _deadline_ms(host, spec.bulk)
        # Never UNORDERED: the rows of a batch are told apart by their order alone.
        flags = (BULK if spec.bulk else 0) | (0 if scan.batch else SINGLE)
        flags |= TEXT_RESULTS if rows.wants_text(wanted) else 0
        opening = Open(
            spec.verb,
            flags,
            deadline_ms,
            host.role(),
            gate.grant_for(spec, scan.model, host),
            scan.args,
            plan.wire_columns([scan.batch] if scan.batch else []),
            plan.wire_columns(wanted),
        )
        if scan.batch is None:
            return Call(opening.encode(), None, deadline_ms)
        texts = rows.batch_texts(scan.elements, scan.batch)
        return Call(opening.encode(), lambda: _batches(texts), deadline_ms)

    def _scan(self, scan: ScanPlan, wanted: tuple[ColumnSpec, ...], request: Request) -> Iterator[Any]:
        cells, host = self._cells(scan), backend.current()
        expected, came = self._expected(scan), 0
        try:
            for block in request.blocks():
                if block is None:
                    yield from self._give_control(host)
                    continue
                came += block.nrows
                if expected is not None and came > expected:
                    break
                yield from rows.result_rows(block, wanted, cells, host)
            if expected is not None and came != expected:
                raise WireError("protocol_violation", f"{came} rows came for {expected} inputs")
        except WireError as error:
            self._fail(error)
        finally:
            self._figures.add(request.end)
            self._forget(request)

    def _expected(self, scan: ScanPlan) -> int | None:
        """How many rows must come: one per input, where the table has an input that may be a batch."""
        if scan.batch is not None:
            return len(scan.elements)
        return 1 if any(column.batch for column in self._spec.inputs) else None

    def _give_control(self, host: backend.Backend) -> Iterator[Any]:
        """One row that no qual lets pass; a cancel that is still there afterwards is ours."""
        if self._spec.required:
            yield (None,) * len(self._spec.columns)
        if host.cancelled():
            raise WireError("cancelled", "the statement was cancelled")

    def _cells(self, scan: ScanPlan) -> list[Iterator[Any]]:
        """Per column an iterator of what the host fills in, for all rows of the scan."""
        cells: list[Iterator[Any]] = [repeat(None) for _ in self._spec.columns]
        for number, value in scan.given.items():
            cells[number] = repeat(value)
        if scan.batch is not None:
            cells[scan.batch.number] = iter(scan.elements)
        if self._spec.ordinal is not None:
            cells[self._spec.ordinal] = count(1)
        return cells

    def _fail(self, error: WireError) -> NoReturn:
        report.raise_error(error, self._spec.verb)

    def _forget(self, request: Request) -> None:
        request.close()
        self._running = [entry for entry in self._running if entry[1] is not request]

    def end_scan(self) -> None:
        self._figures = explain.Figures()

    def begin(self, serializable: bool) -> None:
        self._level = 1

    def sub_begin(self, level: int) -> None:
        self._level = level

    def sub_commit(self, level: int) -> None:
        """Scans of the subtransaction belong to its parent from here on."""
        self._level = level - 1
        self._running = [(min(at, self._level), request) for at, request in self._running]

    def sub_rollback(self, level: int) -> None:
        self._level = level - 1
        self._end_from(level)

    def rollback(self) -> None:
        self._end_from(0)

    def commit(self) -> None:
        self._end_from(0)

    def _end_from(self, level: int) -> None:
        """Closes the requests of an aborted (sub)transaction; closing never raises here."""
        self._figures = explain.Figures()
        for at, request in list(self._running):
            if at >= level:
                self._forget(request)


def _deadline_ms(host: backend.Backend, bulk: bool) -> int:
    """The smaller of what is left of statement_timeout and, unless bulk, pgannex.timeout."""
    limits = [host.statement_left_ms() or 0, 0 if bulk else host.timeout_ms()]
    return min((limit for limit in limits if limit), default=0)


def _batches(texts: list[bytes]) -> Iterator[bytes]:
    """BATCH frames of at most BATCH_ROWS rows and about BATCH_BYTES; a longer text goes alone."""
    start = seq = 0
    while start < len(texts):
        stop, size = start + 1, len(texts[start])
        while stop < min(len(texts), start + BATCH_ROWS) and size + len(texts[stop]) < BATCH_BYTES:
            size += len(texts[stop]) + 4
            stop += 1
        column = values.pack_values(texts[start:stop], values.TEXT)
        payload = ColumnBlock(stop - start, (column,)).encode()
        yield pack_frame(FrameType.BATCH, payload, LAST if stop == len(texts) else 0, seq)
        start, seq = stop, seq + 1

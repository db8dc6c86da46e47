"""`python -m bench TARGET.json`: run the bars, print the table, keep a whole run in results/.

`pgannex bench` starts a stack of its own, writes the target file and calls this.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from bench.bars import bulk, cancel, fitting, lanes, latency, serving
from bench.measure import Measurement, keep, table
from bench.target import Target, read_target

BARS: dict[str, Callable[[Target], list[Measurement]]] = {
    "echo": latency.echo,
    "first-call": latency.first_call,
    "short-text": latency.short_text,
    "whole-table": bulk.whole_table,
    "client-loops": bulk.client_loops,
    "sixteen": bulk.sixteen,
    "lanes": lanes.lanes,
    "cancel": cancel.cancels,
    "server-down": latency.server_down,
    "fitting": fitting.fitting,
    "cancelled-fit": fitting.cancelled_fit,
    "predict": serving.predict_one,
    "microservice": serving.microservice,
    "predict-rows": serving.predict_rows,
}


def main() -> int:
    """0 when every bar was measured and met, 1 when one was missed, 2 when one failed to run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("target", type=Path, help="the JSON file that describes the stack")
    parser.add_argument("bars", nargs="*", choices=[*BARS, []], help="only these bars")
    args = parser.parse_args()
    target = read_target(args.target)
    rows: list[Measurement] = []
    failed = False
    for name in args.bars or BARS:
        print(f"… {name}", file=sys.stderr, flush=True)
        try:
            rows += BARS[name](target)
        except Exception:  # noqa: BLE001 - one bar that breaks must not hide the others
            failed = True
            traceback.print_exc()
    print(table(rows))
    if not args.bars and not failed:
        print(f"kept in {keep(rows, Path(__file__).parent / 'results', 'bars')}")
    return 2 if failed else int(any(row.met is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())

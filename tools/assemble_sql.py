"""Assembles the files of sql/src into the script that CREATE EXTENSION runs.

`python tools/assemble_sql.py --host native --out DIR` writes `pgml--VERSION.sql` and
`pgml.control` for that host into DIR; without `--out` the script goes to standard output.
A file `NN_concern.sql` belongs to both hosts, `NN_concern.HOST.sql` to one. The order is
that of the names. Nothing is installed here: that is `pgannex install` and fdw/native's
Makefile, which both call this.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

SQL = Path(__file__).resolve().parent.parent / "sql"
HOSTS = ("native", "multicorn")
_GUARD = '\\echo Use "CREATE EXTENSION pgml" to load this file. \\quit\n'
_NAME = re.compile(r"(?P<order>\d\d)_(?P<concern>[a-z_]+)(\.(?P<host>[a-z]+))?\.sql")


def control_file(host: str, folder: Path = SQL) -> Path:
    """The control file that fits `host`; it is installed as pgml.control."""
    return folder / ("pgml.control" if host == "native" else f"pgml.{host}.control")


def version_of(host: str, folder: Path = SQL) -> str:
    """default_version of the control file."""
    match = re.search(r"^default_version = '([^']+)'$", control_file(host, folder).read_text(), re.MULTILINE)
    if match is None:
        raise SystemExit(f"{control_file(host, folder)} names no default_version")
    return match[1]


def sources(host: str, folder: Path = SQL) -> list[Path]:
    """The files of `host`, in order. A name that fits no pattern or no host is an error."""
    chosen = []
    for path in sorted((folder / "src").iterdir()):
        match = _NAME.fullmatch(path.name)
        if match is None or match["host"] not in (None, *HOSTS):
            raise SystemExit(
                f"{path} is not named NN_concern.sql or NN_concern.HOST.sql ({', '.join(HOSTS)})"
            )
        if match["host"] in (None, host):
            chosen.append(path)
    return chosen


def assemble(host: str, folder: Path = SQL) -> str:
    """The text of pgml--VERSION.sql."""
    version = version_of(host, folder)
    parts = [_GUARD]
    for path in sources(host, folder):
        parts.append(f"\n-- {path.name}\n{path.read_text()}")
    text = "".join(parts).replace("@VERSION@", version)
    if host != "native" and "MODULE_PATHNAME" in text:
        raise SystemExit(f"the script for {host} names a C function")
    return text


def write(host: str, out: Path, folder: Path = SQL) -> list[Path]:
    """Write control file, script and upgrade scripts of `host` into `out`; the paths written."""
    out.mkdir(parents=True, exist_ok=True)
    control = out / "pgml.control"
    control.write_text(control_file(host, folder).read_text())
    script = out / f"pgml--{version_of(host, folder)}.sql"
    script.write_text(assemble(host, folder))
    upgrades = []
    for path in sorted((folder / "upgrade").glob("pgml--*--*.sql")):
        upgrades.append(out / path.name)
        upgrades[-1].write_text(path.read_text())
    return [control, script, *upgrades]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", choices=HOSTS, default="native", help="which host of the FDW")
    parser.add_argument("--out", type=Path, help="folder for pgml.control and pgml--VERSION.sql")
    options = parser.parse_args()
    if options.out is None:
        sys.stdout.write(assemble(options.host))
        return 0
    for path in write(options.host, options.out):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

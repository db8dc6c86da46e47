"""Where an engine may keep what it derived: compiled graphs and the results of probes.

Everything in here can be thrown away at any time. Only a folder of this user's own, that
nobody else may write to, is believed, because graphs that are read back are run.
"""

from __future__ import annotations

import os
from pathlib import Path

from pgannex_server.engines.base import ModelSpec


def folder(spec: ModelSpec | None = None) -> Path | None:
    """The cache folder, made if need be, or None where there can be none.

    Option `cache` of the model ("" for none), else $PGANNEX_CACHE, $CACHE_DIRECTORY (set
    by systemd), $XDG_CACHE_HOME/pgannex, ~/.cache/pgannex.
    """
    given = spec.options.get("cache") if spec else None
    if given == "":
        return None
    path = Path(str(given)) if given else _default()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path if _is_private(path) else None
    except OSError:
        return None


def _default() -> Path:
    for variable in ("PGANNEX_CACHE", "CACHE_DIRECTORY"):
        value = os.environ.get(variable, "").split(":")[0]
        if value:
            return Path(value)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "pgannex"


def _is_private(path: Path) -> bool:
    found = path.stat()
    return found.st_uid == os.getuid() and not found.st_mode & 0o022 and os.access(path, os.W_OK)

"""Writes deploy/pgannex.toml: every option, commented out, with its default and its meaning.

`python tools/example_config.py` rewrites the file from what config.py says; `--check` changes
nothing and fails where the file differs.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "wire"), str(ROOT / "server")]

from pgannex_server.config import describe  # noqa: E402 - the paths above come first

FILE = ROOT / "deploy" / "pgannex.toml"
_HEAD = """\
# The pgannex server's configuration: /etc/pgannex/pgannex.toml
#
# Every option is here with its default; take away the # to change one. An unknown key stops
# the start. After a change: systemctl reload pgannex. Sizes: bytes, or a text such as "8GiB".
"""
_ABOUT = {
    "server": "the socket for Postgres, and the process itself",
    "http": "the HTTP door: OpenAI's shape for programs, metrics for Prometheus",
    "limits": "what keeps one caller from taking everything",
    "tabular": "models of tables: who predicts and who trains, and with how much",
    'models."name"': "one section per model: what has none cannot be used by anybody",
}
_TABLES = {
    ("http", "keys"): '# [http.keys]\n# "<sha256 of the key, in hex>" = "role"\n',
    ("limits", "memory"): '# [limits.memory]\n# cpu = "8GiB"\n# "cuda:0" = "20GiB"\n',
    ('models."name"', "options"): '# [models."name".options]\n# key = "value"\n',
}


def text() -> str:
    """The whole file. A table inside a section comes last, because in TOML it ends the section."""
    parts, tables, section = [_HEAD], "", ""
    for name, key, default, meaning in [*describe(), ("", "", "", "")]:
        if name != section:
            parts.append(tables)
            tables, section = "", name
            if not name:
                break
            shown = f"# [{name}]" if name.startswith("models") else f"[{name}]"
            parts.append(f"\n# --- {_ABOUT.get(name, name)}\n{shown}\n")
        table = _TABLES.get((name, key))
        if table is not None or default == "{}":
            tables += f"\n# {meaning}\n{table or f'# [{name}.{key}]' + chr(10)}"
        else:
            parts.append(f"\n# {meaning}\n# {key} = {default}\n")
    return "".join(parts)


def main() -> int:
    """Write, or compare."""
    wanted = text()
    if "--check" not in sys.argv:
        FILE.write_text(wanted)
        return 0
    if FILE.exists() and FILE.read_text() == wanted:
        return 0
    print(f"{FILE.relative_to(ROOT)} is not what config.py says: run python tools/example_config.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())

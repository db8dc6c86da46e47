"""Which configuration a subcommand speaks of: --config, $PGANNEX_CONFIG, the running stack's, or /etc."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pgannex_server import config
from pgannex_server.config import Config
from pgannex_server.host import place
from pgannex_server.host.errors import HostError
from pgannex_server.host.state import State


def config_option(command: argparse.ArgumentParser) -> None:
    """Add --config."""
    command.add_argument(
        "--config", type=Path, help="pgannex.toml; default the embedded stack's, else /etc/pgannex"
    )


def socket_option(command: argparse.ArgumentParser) -> None:
    """Add --config and --uds."""
    config_option(command)
    command.add_argument("--uds", metavar="PATH", help="the server's HTTP socket")


def config_path(options: argparse.Namespace) -> Path | None:
    """The file, or None for the default path."""
    if options.config is not None:
        return Path(options.config)
    if os.environ.get(config.ENVIRONMENT):
        return Path(os.environ[config.ENVIRONMENT])
    try:
        state = State(place.find())
    except HostError:
        return None
    return state.config if state.config.exists() else None


def configured(options: argparse.Namespace) -> Config:
    """The configuration, read."""
    return config.load(config_path(options))

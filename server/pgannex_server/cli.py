"""The command `pgannex`: which subcommands there are, and what their failures look like.

A file per subcommand in commands/, each with `add(subparsers)` and a function that returns the
exit status. Statuses: 0 done; 1 it did not work (the reason is on standard error); 2 wrong
arguments; 3 not running. Nothing ever waits for an answer where there is no terminal.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pgannex_server import __version__
from pgannex_server.commands import (
    bench,
    build,
    demo,
    doctor,
    install,
    key,
    models,
    psql,
    serve,
    stack,
    status,
)
from pgannex_server.errors import ConfigError
from pgannex_server.host.errors import HostError

_COMMANDS = (stack, psql, serve, install, build, status, doctor, models, key, demo, bench)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(prog="pgannex", description="Models next door to your Postgres.")
    top.add_argument("--version", action="version", version=f"pgannex {__version__}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(subparsers)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    passes_on = given[:1] in (["psql"], ["bench"])
    options = parser().parse_args(given[:1] if passes_on else given)
    if passes_on:
        options.arguments = given[1:]
    try:
        return int(options.run(options))
    except HostError as err:
        return _failed(err.message, err.hint)
    except ConfigError as err:
        return _failed(str(err), "")
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; nothing is left to say
        return 1


def _failed(message: str, hint: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""``benchd``: the daemon, and what needs none."""

# ruff: noqa: PLC0415 - each command imports only what it needs: `benchd load` is no daemon

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from benchd import __version__
from benchd.cli.choices import ChoosingParser

OK, NO, USAGE = 0, 1, 2
BAD_CONFIGURATION = 78  # EX_CONFIG: systemd must not restart us for it
NO_DISK = 74  # EX_IOERR: full or failing; starting again may help
INTERRUPTED = 130  # the shell's status for a command that Ctrl-C ended

Command = Callable[[argparse.Namespace], int]
_RECIPE = "a recipe; - reads standard input"


class _Usage(Exception):
    """The command line cannot be read."""


class _Parser(ChoosingParser):
    """Usage errors in one line that says what to do."""

    def error(self, message: str) -> NoReturn:
        raise _Usage(f"{message}: see {self.prog} --help")


class _Faults(argparse.Action):
    """Lists the faults of the embedded cluster, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from benchd.sim.faults import KINDS

        for kind in KINDS.values():
            print(f"{kind.name:15} {kind.doc}\n{'':15} ARG: {kind.takes}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    root = _Parser(
        prog="benchd", description="Submit, watch and benchmark AI services on Slurm clusters."
    )
    root.add_argument("--version", action="version", version=f"benchd {__version__}")
    subs = root.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        sub = subs.add_parser(name, help=text, description=text[0].upper() + text[1:])
        sub.set_defaults(run=run)
        return sub

    _config(add("run", run, "the daemon, in the foreground"))
    sub = add("demo", demo, "the whole job, end to end, on a cluster that it brings along")
    _config(sub, "run on this configuration's cluster instead of the embedded one")
    sub.add_argument("--dir", type=Path, help="where everything goes (default: .demo/<time>)")
    sub.add_argument("--recipe", type=Path, help="another recipe than the demo's own")
    sub.add_argument(
        "--timeout", type=float, default=600.0, metavar="S", help="give up after S seconds (600)"
    )
    sub = add("check", check, "configuration, keys, Slurm and shared directory: a table with fixes")
    _config(sub)
    sub.add_argument("--cluster", metavar="NAME", help="only this one")
    sub.add_argument("--no-job", action="store_true", help="do not submit the tiny test job")
    sub.add_argument(
        "--patience", type=float, default=30.0, metavar="S", help="wait so long for that job (30)"
    )
    sub = add("backup", backup, "copy the database, also while the daemon works")
    _config(sub)
    sub.add_argument(
        "dest",
        nargs="?",
        type=Path,
        metavar="DEST",
        help="file or directory (default: backup/ in the state directory)",
    )
    sub = add("validate", validate, "say every mistake in a recipe, with line and column")
    sub.add_argument("files", nargs="+", metavar="FILE", help=_RECIPE)
    _config(sub)
    sub.add_argument("--json", action="store_true", help="answer as JSON, with its schema")
    sub = add("render", render, "print the exact batch scripts of a recipe")
    sub.add_argument("files", nargs="+", metavar="FILE", help=_RECIPE)
    _config(sub)
    sub.add_argument("--cluster", metavar="NAME", help="render for this cluster")
    sub.add_argument("--job", metavar="NAME", help="only services and clients of this name")
    sub.add_argument("--out", type=Path, metavar="DIR", help="one file a job instead of output")
    sub = add("import", convert, "recipes out of the files of other projects")
    sub.add_argument("file", metavar="FILE", help="YAML or JSON in one of the forms it knows")
    sub.add_argument("-o", "--out", type=Path, metavar="DIR", help="one file a recipe, in DIR")
    _config(sub)
    sub = add("schema", schema, "print a JSON Schema")
    sub.add_argument("kind", choices=("recipe", "config", "result", "kind"), help="of what")
    _config(sub, "the configuration whose own kinds count as well")
    _sim(add("sim", sim, "the embedded cluster on its own: a login node to ssh into"))
    add("version", version, "versions of benchd and of what it stands on")
    # Its options belong to the load generator: main() hands them over unread.
    add("load", load, "the load generator by itself: benchd load WORKLOAD --url URL ...")
    return root


def _config(parser: argparse.ArgumentParser, text: str = "the configuration file") -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help=text)


def _sim(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=Path, required=True, help="where it keeps everything")
    parser.add_argument("--port", type=int, default=0, help="of its SSH server (default: free)")
    parser.add_argument("--nodes", type=int, default=4, help="compute nodes (4)")
    parser.add_argument("--cpus", type=int, default=8, help="CPUs of a node (8)")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME[=ARG]",
        help="what goes wrong on purpose, see --list-faults; may be given again",
    )
    parser.add_argument("--list-faults", action=_Faults, nargs=0, help="list them, with their ARG")


def run(args: argparse.Namespace) -> int:
    """Run the daemon until SIGTERM or SIGINT."""
    import asyncio

    # structlog imports rich when it finds it: 5 MB for tracebacks that no daemon draws.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type] # None: "not to be imported"

    import structlog

    from benchd import config, kindbook, log
    from benchd.app import serve
    from benchd.errors import ConfigError, StoreError, StoreUnusable, UserError

    try:
        file = config.find(args.config)
        settings, catalog = config.load(file), kindbook.load(file)
    except (ConfigError, UserError) as error:
        print(f"benchd: {error}", file=sys.stderr)
        return BAD_CONFIGURATION
    log.configure()
    for remark in config.remarks(file):
        structlog.get_logger().warning("config.remark", what=remark.render(str(file)))
    try:
        asyncio.run(serve(settings, catalog))
    except StoreError as error:
        print(f"benchd: {error}", file=sys.stderr)
        return BAD_CONFIGURATION if isinstance(error, StoreUnusable) else NO_DISK
    return OK


def demo(args: argparse.Namespace) -> int:
    """Show the whole job."""
    from benchd.cli.demo import Demo

    return Demo(
        directory=args.dir, config=args.config, recipe=args.recipe, timeout=args.timeout
    ).run()


def convert(args: argparse.Namespace) -> int:
    """Convert a file of another project, and say what stays behind."""
    from benchd.cli.imports import import_file
    from benchd.cli.recipes import catalog_of

    return import_file(args.file, args.out, catalog_of(args.config))


def check(args: argparse.Namespace) -> int:
    """Check everything that a first run would stumble over."""
    import asyncio

    from benchd import config, log
    from benchd.cli.check import check_all

    log.configure("critical")  # the table says what the link would log
    file = config.find(args.config)
    settings = config.load(file)
    for remark in config.remarks(file):
        print(f"warning: {remark.render(str(file))}", file=sys.stderr)
    return asyncio.run(
        check_all(settings, only=args.cluster, with_job=not args.no_job, patience=args.patience)
    )


def backup(args: argparse.Namespace) -> int:
    """Copy the database and say where the copy is."""
    from benchd import config
    from benchd.cli.backup import copy
    from benchd.places import database_in, state_dir_of

    settings = config.load(config.find(args.config))
    print(copy(database_in(state_dir_of(settings)), args.dest))
    return OK


def validate(args: argparse.Namespace) -> int:
    """Say every mistake in every file."""
    from benchd.cli.recipes import validate_files

    return validate_files(args.files, config=args.config, as_json=args.json)


def render(args: argparse.Namespace) -> int:
    """Print scripts."""
    from benchd.cli.recipes import render_files

    return render_files(
        args.files, config=args.config, cluster=args.cluster, only=args.job, out=args.out
    )


def schema(args: argparse.Namespace) -> int:
    """Print a JSON Schema."""
    from benchd.catalog.schema import schema as schema_of
    from benchd.cli.recipes import catalog_of

    print(json.dumps(schema_of(args.kind, catalog_of(args.config)), indent=2))
    return OK


def sim(args: argparse.Namespace) -> int:
    """Run the embedded cluster until it is stopped."""
    import asyncio

    from benchd.sim.serve import serve

    asyncio.run(serve(args.dir, args.port, args.nodes, args.fault, cpus=args.cpus))
    return OK


def version(args: argparse.Namespace) -> int:
    """Print versions."""
    import platform
    from importlib.metadata import version as of

    from benchd.edge.store import SQLITE_VERSION

    print(f"benchd {__version__}")
    print(f"python {platform.python_version()}")
    print(f"sqlite {SQLITE_VERSION}")
    for name in ("asyncssh", "aiohttp", "aiosqlite", "pydantic", "transitions"):
        print(f"{name} {of(name)}")
    return OK


def load(args: argparse.Namespace) -> int:
    """Run the load generator; reached only without options of its own."""
    return _load([])


def _load(argv: Sequence[str]) -> int:
    from benchd.ship.load.cli import main as generate

    return generate(list(argv), prog="benchd load")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["load"]:
        return _load(words[1:])
    try:
        args = parser().parse_args(words)
    except _Usage as error:
        print(f"benchd: {error}", file=sys.stderr)
        return USAGE
    from benchd.errors import BenchdError, RecipeError

    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has gone; Python would complain at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except RecipeError as error:  # the answer, as of `benchd validate`: each line says where
        print(error, file=sys.stderr)
        return NO
    except (BenchdError, OSError) as error:
        print(f"benchd: {_said(error)}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


def _said(error: Exception) -> str:
    """Return what happened; a bare OSError says which file only in its attributes."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


if __name__ == "__main__":
    sys.exit(main())

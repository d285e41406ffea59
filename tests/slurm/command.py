"""The command line of the testbed (``testbed.sh``).

    start  DIR [--nodes N] [--cpus N] [--no-accounting] [--min-job-age S] [--rest]
    stop   DIR [--purge]
    status DIR
    ctl    DIR down|up|pause|resume|kill|drop NAME...
    run    [--home DIR] -- COMMAND...
                              a fresh cluster for one command, with BENCHD_CONFIG in its environment

NAME is munged, mariadbd, slurmdbd, slurmctld, slurmd-n1 ..., sshd, and with ``--rest`` slurmrestd,
for which `scontrol token` then makes tokens. ``down`` asks a daemon to end
and waits, ``up`` starts it again, ``pause`` and ``resume`` freeze it, ``kill`` ends it without a
word, ``drop`` cuts the sessions of sshd and leaves the listener alone.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from slurm.lease import Lease
from slurm.testbed import Testbed, TestbedError
from slurm.testbed_files import Options


def main(argv: Sequence[str] | None = None) -> int:
    """Do one command; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="testbed.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="bring a cluster up below DIR")
    stop = commands.add_parser("stop", help="take it down")
    status = commands.add_parser("status", help="what runs")
    ctl = commands.add_parser("ctl", help="do something to single daemons")
    guard = commands.add_parser("guard", help="stop DIR as soon as standard input ends")
    for command in (start, stop, status, ctl, guard):
        command.add_argument("dir", type=Path)
    start.add_argument("--nodes", type=int, default=Options.nodes)
    start.add_argument("--cpus", type=int, default=Options.cpus)
    start.add_argument("--min-job-age", type=int, default=Options.min_job_age_s)
    start.add_argument("--no-accounting", action="store_true")
    start.add_argument("--rest", action="store_true", help="slurmrestd as well (root only)")
    stop.add_argument("--purge", action="store_true", help="remove DIR as well")
    ctl.add_argument("action")
    ctl.add_argument("names", nargs="+")
    run = commands.add_parser("run", help="a fresh cluster for one command")
    run.add_argument("--home", type=Path, help="where benchd's own files go (default: they go too)")
    run.add_argument("argv", nargs="+")
    args = parser.parse_args(argv)
    try:
        return _do(args)
    except TestbedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return 1


def _do(args: argparse.Namespace) -> int:
    match args.command:
        case "start":
            options = Options(
                nodes=args.nodes,
                cpus=args.cpus,
                accounting=not args.no_accounting,
                min_job_age_s=args.min_job_age,
                tokens=args.rest,
            )
            again = (args.dir / "testbed.json").exists()
            testbed = Testbed(args.dir) if again else Testbed.create(args.dir, options)
            testbed.start()
            testbed.up(*testbed.plan.extras)
            print(f"up; for its Slurm commands: . {testbed.dir}/env.sh")
        case "stop":
            Testbed(args.dir).stop(purge=args.purge)
        case "status":
            print(Testbed(args.dir).status())
        case "ctl":
            Testbed(args.dir).ctl(args.action, *args.names)
        case "guard":
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # its one job is to outlive the others
            sys.stdin.read()
            Testbed(args.dir).stop(purge=True)
        case "run":
            return _run(args.argv, args.home)
    return 0


def _run(argv: list[str], home: Path | None) -> int:
    """Run a command against a fresh cluster; whatever happens, the cluster goes away with us."""
    with Lease() as lease:
        print(
            f"testbed: Slurm with {lease.testbed.plan.options.nodes} nodes, sshd on 127.0.0.1"
            f":{lease.port}",
            file=sys.stderr,
        )
        config = lease.write_config((home or lease.testbed.dir / "benchd").resolve())
        env = lease.testbed.env | {"BENCHD_CONFIG": str(config)}
        child = subprocess.Popen(argv, env=env)

        def forward(number: int, _frame: FrameType | None) -> None:
            os.kill(child.pid, number)

        signal.signal(signal.SIGTERM, forward)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the child as well
        status = child.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())

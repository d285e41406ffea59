"""The embedded cluster as a program: ``benchd sim``."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from benchd.sim.cluster import SOCKET_PATH_LIMIT, EmbeddedCluster


async def serve(
    dir: Path,  # noqa: A002 - the word of the command line
    port: int = 0,
    nodes: int = 4,
    faults: Sequence[str] = (),
    *,
    cpus: int = 8,
) -> None:
    """Run a cluster until SIGTERM or SIGINT. Writes ``dir/benchd.yaml`` and prints ``ready``."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    control, sockets = _control_socket(dir)
    try:
        async with EmbeddedCluster(
            dir, nodes=nodes, cpus=cpus, faults=faults, port=port
        ) as cluster:
            file = dir / "benchd.yaml"
            file.write_text(yaml.safe_dump(configuration(cluster, control), sort_keys=False))
            login = f"{cluster.user}@{cluster.host}"
            known = f"-o UserKnownHostsFile={cluster.known_hosts}"
            sys.stderr.write(
                f"login node: ssh -i {cluster.key} {known} -p {cluster.port} {login}\n"
                f"benchd:     benchd run --config {file}\n"
            )
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            await stop.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        if sockets is not None:
            shutil.rmtree(sockets, ignore_errors=True)


def _control_socket(dir: Path) -> tuple[Path, Path | None]:  # noqa: A002 - see serve
    """Return the daemon's socket, and the directory made for it if ``dir`` is too long for one."""
    dir.mkdir(parents=True, exist_ok=True)
    control = dir.absolute() / "control.sock"
    if len(os.fsencode(control)) <= SOCKET_PATH_LIMIT:
        return control, None
    sockets = Path(tempfile.mkdtemp(prefix="benchd-"))
    return sockets / "control.sock", sockets


def _free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def configuration(cluster: EmbeddedCluster, control: Path) -> dict[str, object]:
    """Return a configuration of benchd for this cluster: it may be polled as often as we like."""
    return {
        "state_dir": str(cluster.dir / "state"),
        "socket": str(control),
        "default_cluster": "sim",
        "clusters": {
            "sim": {
                "ssh": {
                    "host": cluster.host,
                    "port": cluster.port,
                    "user": cluster.user,
                    "identity": str(cluster.key),
                    "known_hosts": str(cluster.known_hosts),
                    "proxy_jump": None,
                    "config": None,
                },
                "workdir": str(cluster.workdir),
                "runtime": {"name": "none"},
                "poll": {"interval": "1s", "floor": "0.5s"},
                "budget": {
                    "rpc_per_minute": 600.0,
                    "burst": 100,
                    "submits_per_minute": 600.0,
                    "channels": 5,
                },
                "message_timeout": cluster.config.message_timeout,
                "testbed": True,
            }
        },
        "http": {"listen": f"127.0.0.1:{_free_port()}"},
        "scan_interval": 0.5,
    }

"""A testbed for as long as this process lives, and not a moment longer.

A guard process waits on a pipe whose other end only we hold. When we close it, or are killed in
whatever way, the guard takes the cluster down and removes its directory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from slurm.testbed import Testbed, TestbedError, free_ports
from slurm.testbed_files import Options

ROOM = 500 * 2**20  # bytes; a cluster that ran a whole test suite uses about 200 MB
STOP_S = 90.0  # until the guard must have finished: hanging jobs and daemons included
TESTS = Path(__file__).resolve().parent.parent


def fast_dir() -> str | None:
    """Return /dev/shm if a cluster can live there: a fresh database on a busy disk takes 10 s.

    Containers often mount it without the right to execute, and slurmd executes batch scripts
    from its spool directory.
    """
    shm = "/dev/shm"
    try:
        status = os.statvfs(shm)
    except OSError:
        return None
    roomy = status.f_bavail * status.f_frsize > ROOM
    usable = os.access(shm, os.W_OK) and not status.f_flag & os.ST_NOEXEC
    return shm if roomy and usable else None


CONFIG = """\
state_dir: {home}/state
socket: {home}/control.sock
default_cluster: testbed
scan_interval: 200ms
http: {{listen: "127.0.0.1:{http}"}}
clusters:
  testbed:
    testbed: true
{way}    workdir: {workdir}
    defaults: {{partition: debug, time: "00:10:00"}}
    poll: {{interval: 500ms, floor: 200ms}}
    budget: {{rpc_per_minute: 6000, burst: 100, submits_per_minute: 6000, channels: 5}}
"""


SSH = """\
    ssh:
      host: 127.0.0.1
      port: {port}
      user: {user}
      identity: {dir}/ssh/id_ed25519
      known_hosts: {dir}/ssh/known_hosts
"""
LOCAL = """\
    local: true
"""
# The token lives for longer than benchd renews it before its end, but not for long.
REST = """\
    rest:
      url: http://127.0.0.1:{rest}
      token_command: SLURM_CONF={dir}/slurm.conf scontrol token lifespan=90
"""
# How benchd gets at the cluster: to its files, and to Slurm.
WAYS = {"ssh": SSH, "local": LOCAL, "rest": SSH + REST, "local-rest": LOCAL + REST}


class Lease:
    """A running testbed in a temporary directory; use it as a context manager."""

    def __init__(self, options: Options | None = None) -> None:
        home = Path(tempfile.mkdtemp(prefix="benchd-slurm-", dir=fast_dir()))
        try:
            self.testbed = Testbed.create(home, options)
        except BaseException:
            shutil.rmtree(home)
            raise
        argv = [sys.executable, "-m", "slurm.command", "guard", str(self.testbed.dir)]
        self._guard = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(TESTS)},
            start_new_session=True,
        )
        try:
            self.testbed.start()
        except BaseException as error:
            failed = Path(tempfile.mkdtemp(prefix="benchd-slurm-failed-"))
            shutil.copytree(self.testbed.dir / "log", failed / "log")
            self.close()
            if isinstance(error, TestbedError):
                raise TestbedError(f"{error}\nall logs: {failed}/log") from error
            raise

    @property
    def port(self) -> int:
        """The port of the login node's sshd."""
        return self.testbed.plan.ports["sshd"]

    def write_config(self, home: Path, *, workdir: Path | None = None, way: str = "ssh") -> Path:
        """Write a benchd configuration for this cluster, with its state below ``home``.

        ``way``: one of ``WAYS``. A daemon that is to use the cluster without ssh needs its
        environment, and one that is to use slurmrestd needs that to be up.
        """
        home.mkdir(parents=True, exist_ok=True)
        path = home / "benchd.yaml"
        told = WAYS[way].format(
            port=self.port,
            user=self.testbed.plan.user,
            dir=self.testbed.dir,
            rest=self.testbed.plan.ports.get("slurmrestd"),
        )
        path.write_text(
            CONFIG.format(
                home=home,
                http=free_ports(1)[0],
                way=told,
                workdir=workdir or self.testbed.dir / "work",
            )
        )
        return path

    def close(self) -> None:
        """Take the cluster down; raise if the guard could not."""
        _, err = self._guard.communicate(timeout=STOP_S)
        if self._guard.returncode:
            raise TestbedError(f"the testbed was not taken down:\n{err.decode(errors='replace')}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

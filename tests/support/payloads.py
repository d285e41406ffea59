"""Services and clients of the catalogue, run by their own batch scripts on this machine.

The script is the one that Slurm would be given; only Slurm itself is missing.
"""

from __future__ import annotations

import json
import os
import secrets as randomness
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchd.catalog import CATALOG
from benchd.catalog.checks import Answer, Command, Log, Tcp, request, verdict
from benchd.config import RuntimeSettings
from benchd.core.around import dressed
from benchd.core.model import Binding, Endpoint, Verdict
from benchd.core.results import Measured
from benchd.core.script import render
from benchd.core.spec import HealthCheck, JobSpec, Role
from benchd.edge.pack import build
from benchd.edge.targets import secret_env, targets_env
from support.node import until

PATIENCE = 60.0  # seconds a client may take on a busy machine


@dataclass
class Up:
    """A running service."""

    job: Path
    host: str
    ports: tuple[int, ...]
    secrets: dict[str, str]
    process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        """Return its first port."""
        return self.ports[0]

    def said(self) -> str:
        """Return what its job has printed so far."""
        return (self.job / "log").read_text(errors="replace")


@dataclass
class Done:
    """A client that has ended."""

    status: int
    said: str
    measured: Measured
    files: dict[str, bytes] = field(repr=False)


def _job(home: Path, spec: JobSpec, secrets: Mapping[str, str]) -> tuple[Path, Path]:
    """Make a job's directories as a submission does; return it and its script."""
    token = f"b-r-{spec.role[0]}-{spec.name}-{randomness.token_hex(3)}"
    job = home / "runs" / "r" / "jobs" / token
    (job / "try-1").mkdir(parents=True)
    job.chmod(0o700)
    kinds: Mapping[str, Any] = CATALOG.services if spec.role is Role.SERVICE else CATALOG.clients
    payload = dressed(kinds[spec.kind].payload(spec), spec)
    packed = {name: build(name) for name in payload.ship}
    (home / "ship").mkdir(exist_ok=True)
    for package in packed.values():
        (home / "ship" / package.file_name).write_bytes(package.data)
    if secrets:
        (job / "try-1" / "secret.env").write_text(secret_env(secrets))
    script = job / "try-1" / "script.sh"
    ship = {name: package.file_name for name, package in packed.items()}
    script.write_text(render(spec, token, payload, RuntimeSettings(), ship))
    return job, script


def _start(job: Path, script: Path) -> subprocess.Popen[bytes]:
    env = {"PATH": os.environ["PATH"], "HOME": str(job), "TMPDIR": str(job.parents[3])}
    env["SLURM_JOB_ID"] = job.name[-6:]
    with (job / "log").open("wb") as log:
        return subprocess.Popen(
            ["bash", script, job, "1"],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def look(there: Endpoint, check: HealthCheck) -> tuple[Verdict, str]:
    """Ask a service once, as its health check does."""
    asked = request(check, there)
    assert asked is not None
    assert not isinstance(asked, Command | Log)
    try:
        with socket.create_connection((asked.host, asked.port), timeout=5) as line:
            line.sendall(asked.send)
            data = b"" if isinstance(asked, Tcp) else line.recv(4096)
    except OSError as error:
        return Verdict.BAD, str(error)
    return verdict(asked, Answer(data=data))


def _spec(kind: str, told: Mapping[str, str], over: Mapping[str, Any]) -> JobSpec:
    usual = {"ports": CATALOG.services[kind].ports, "secrets": dict.fromkeys(told)}
    return JobSpec(role=Role.SERVICE, name=kind, kind=kind, **{**usual, **over})


def ended(
    home: Path, kind: str, *, secrets: Mapping[str, str], **over: Any
) -> tuple[int, str, bool]:
    """Run a service that ends by itself: its status, what it said, and whether it ever was up."""
    job, script = _job(home, _spec(kind, secrets, over), secrets)
    process = _start(job, script)
    try:
        status = process.wait(PATIENCE)
    finally:
        process.kill()
    said = (job / "log").read_text(errors="replace")
    return status, said, (job / "endpoint.json").exists()


@contextmanager
def service(
    home: Path, kind: str, *, secrets: Mapping[str, str] | None = None, **over: Any
) -> Iterator[Up]:
    """Run a service until the block ends; it answers, and has ended well when it is over."""
    told = dict(secrets or {})
    spec = _spec(kind, told, over)
    job, script = _job(home, spec, told)
    process = _start(job, script)
    try:
        yield _answering(job, process, told, spec.health_check or CATALOG.services[kind].check)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _answering(
    job: Path, process: subprocess.Popen[bytes], secrets: dict[str, str], check: HealthCheck
) -> Up:
    def found() -> Endpoint:
        told = json.loads((job / "endpoint.json").read_text())
        ports = tuple(told["ports"])
        return Endpoint(host=told["host"], ports=ports, slurm_id="1", generation=0)

    def is_good() -> bool:
        said = (job / "log").read_text(errors="replace")
        assert process.poll() is None, f"it ended with {process.returncode}:\n{said}"
        return (job / "endpoint.json").exists() and look(found(), check)[0] is Verdict.GOOD

    until(is_good)
    return Up(job, found().host, found().ports, secrets, process)


def client(home: Path, kind: str, target: Up | None, **over: Any) -> Done:
    """Run a client to its end against a service."""
    spec = JobSpec(role=Role.CLIENT, name=kind, kind=kind, **over)
    job, script = _job(home, spec, target.secrets if target else {})
    host, ports = (target.host, target.ports) if target else ("127.0.0.1", (1,))
    bound = Binding(name="s", token="b-r-s-s-p0r0-0-a1", generation=0, host=host, ports=ports)
    (job / "try-1" / "targets.env").write_text(targets_env((bound,)))
    process = _start(job, script)
    try:
        status = process.wait(PATIENCE)
    finally:
        process.kill()
    said = (job / "log").read_text(errors="replace")
    result = job / "result"
    files = {
        f"result/{path.relative_to(result)}": path.read_bytes()
        for path in result.rglob("*")
        if path.is_file()
    }
    measured = CATALOG.clients[kind].parse({**files, "err": said.encode()}, spec)
    return Done(status, said, measured, files)

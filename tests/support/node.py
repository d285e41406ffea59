"""A node that runs batch scripts with bash, in a job directory, as Slurm would."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.script_cases import TOKEN, Case

DEADLINE = 20.0  # seconds a real process may take on a busy machine before the test gives up


@dataclass
class Node:
    """A node with one job directory: runs scripts as Slurm would."""

    workdir: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    tools: Path | None = None

    @property
    def job(self) -> Path:
        """Return JOB, four levels below the work directory."""
        return self.workdir / "runs" / "r" / "jobs" / TOKEN

    def start(
        self, what: Case, slurm_id: str = "101", restarts: int | None = None, **env: str
    ) -> subprocess.Popen[bytes]:
        """Start a script; stdout and stderr are collected by ``communicate``."""
        script = self.workdir / "script.sh"
        script.write_text(what.render())
        path = f"{self.tools}:{os.environ['PATH']}" if self.tools else os.environ["PATH"]
        known = {"PATH": path, "HOME": str(self.workdir / "home"), "SLURM_JOB_ID": slurm_id}
        if restarts is not None:
            known["SLURM_RESTART_COUNT"] = str(restarts)
        process = subprocess.Popen(
            ["bash", script, self.job, "1"],
            env={**known, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(
        self, what: Case, slurm_id: str = "101", restarts: int | None = None, **env: str
    ) -> tuple[int, str, str]:
        """Run a script to its end: status, stdout, stderr."""
        process = self.start(what, slurm_id, restarts, **env)
        out, err = process.communicate(timeout=DEADLINE)
        return process.returncode, out.decode(), err.decode()

    def names(self) -> list[str]:
        """Return what is in the job directory, without the try."""
        return sorted(p.name for p in self.job.iterdir() if p.name != "try-1")

    def json(self, name: str) -> dict[str, Any]:
        """Return one of the job's JSON files."""
        value: dict[str, Any] = json.loads((self.job / name).read_text())
        return value

    def processes(self, session: int) -> list[int]:
        """Return the processes of a script, its payload first: Slurm knows them by their job."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    words = (entry / "stat").read_text().rpartition(")")[2].split()
                    found += [int(entry.name)] if int(words[3]) == session else []
        return sorted(found, reverse=True)

    def tool(self, name: str, text: str) -> None:
        """Put a program of this name first on the node's PATH."""
        self.tools = self.workdir / "bin"
        self.tools.mkdir(exist_ok=True)
        (self.tools / name).write_text(f"#!/bin/bash\n{text}\n")
        (self.tools / name).chmod(0o755)


def nodes(tmp_path: Path) -> Iterator[Node]:
    """Yield a node whose job directory holds try 1; kill what a failed test left running."""
    one = Node(tmp_path)
    (one.job / "try-1").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "ship").mkdir()
    yield one
    for process in one.started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def until(condition: Callable[[], bool]) -> None:
    """Wait for the real condition of a real process, but not for ever."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)  # between two looks

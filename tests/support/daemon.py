"""A real daemon in a process of its own, driven as its users drive it: files, socket, signals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).resolve().parents[2]
# Seconds between two looks at a condition of another process.
LOOK = 0.05


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Return the first true answer of ``condition``; fail with a sentence when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > deadline:
            message = f"not within {seconds:.0f} s: {what}"
            raise AssertionError(message)
        time.sleep(LOOK)


@dataclass(slots=True)
class RunningDaemon:
    """One ``benchd run`` and the ``benchctl`` that talks to it."""

    config: Path
    process: subprocess.Popen[bytes] | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings = yaml.safe_load(self.config.read_text())

    @property
    def state(self) -> Path:
        """The state directory."""
        return Path(self.settings["state_dir"])

    @property
    def socket(self) -> Path:
        """The control socket."""
        return Path(self.settings["socket"])

    @property
    def log_file(self) -> Path:
        """What the daemon wrote to stderr, over all its lives."""
        return self.config.parent / "daemon.log"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus scrapes it."""
        return f"http://{self.settings['http']['listen']}/metrics"

    def start(self) -> RunningDaemon:
        """Start it and wait until its socket answers."""
        self.spawn()
        until(self._answers, 20.0, f"the daemon answers\n{self.tail()}")
        return self

    def spawn(self) -> None:
        """Start it and wait for nothing."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchd.cli.daemon", "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
            )

    def _answers(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            message = f"the daemon ended with {self.process.returncode}\n{self.tail()}"
            raise AssertionError(message)
        return self.ctl("status").returncode == 0

    def tail(self) -> str:
        """Return the end of the log, for a failing test."""
        return self.log_file.read_text(errors="replace")[-6000:] if self.log_file.exists() else ""

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM, and wait; return the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def close(self) -> None:
        """End it whatever state it is in."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    # --- as a user --------------------------------------------------------------------------------

    def drop(self, recipe: Path, name: str | None = None) -> None:
        """Copy a recipe into the inbox."""
        shutil.copyfile(recipe, self.state / "inbox" / (name or recipe.name))

    def ctl(self, *words: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run ``benchctl`` and return what it said."""
        return subprocess.run(
            [sys.executable, "-m", "benchd.cli.ctl", "--socket", str(self.socket), *words],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment(),
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def ask(self, *words: str) -> dict[str, Any]:
        """Run ``benchctl --json`` and return the document."""
        said = self.ctl(*words, "--json")
        assert said.returncode == 0, f"benchctl {' '.join(words)}: {said.stderr}\n{self.tail()}"
        document: dict[str, Any] = json.loads(said.stdout)
        return document

    def jobs(self) -> list[dict[str, Any]]:
        """Return all jobs."""
        jobs: list[dict[str, Any]] = self.ask("jobs")["jobs"]
        return jobs

    def runs(self) -> list[dict[str, Any]]:
        """Return all runs, newest first."""
        runs: list[dict[str, Any]] = self.ask("runs")["runs"]
        return runs

    def link(self) -> str:
        """Return the state of the first cluster's link."""
        link: str = self.ask("cluster", "list")["clusters"][0]["link"]
        return link

    def job(self, role: str) -> dict[str, Any]:
        """Return the newest job of a role, or nothing."""
        return next((j for j in reversed(self.jobs()) if j["role"] == role), {})

    def wait_job(self, role: str, state: str, seconds: float = 60.0) -> dict[str, Any]:
        """Wait until the newest job of a role is in this state."""

        def reached() -> dict[str, Any] | None:
            job = self.job(role)
            return job if job.get("state") == state else None

        found: dict[str, Any] = until(reached, seconds, f"{role} {state}\n{self.tail()}")
        return found

    def wait_run(self, seconds: float = 90.0) -> dict[str, Any]:
        """Wait until the newest run is over and return it."""

        def over() -> dict[str, Any] | None:
            runs = self.runs()
            return runs[0] if runs and runs[0]["outcome"] else None

        found: dict[str, Any] = until(over, seconds, f"the run ends\n{self.tail()}")
        return found


def environment() -> dict[str, str]:
    """Return our environment with the package importable, and nothing of systemd's."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NOTIFY_", "BENCHD_"))}
    return kept | {"PYTHONPATH": str(REPO / "daemon"), "NO_COLOR": "1"}

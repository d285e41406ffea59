"""One daemon on a real cluster, behind a login node of its own, and what to ask of it.

A scenario tells its story on a stage: it starts the daemon, drops a recipe, hurts something, mends
it, and waits. What it finds wrong on the way it notes; what every story has to end with is judged
afterwards (``judge.py``).
"""

from __future__ import annotations

import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from benchd.cli.wire import Daemon as Socket
from benchd.cli.wire import Stop
from slurm.door import Door
from support.daemon import RunningDaemon
from support.realslurm import RealSlurm
from torture.cable import Cable

# Seconds between two looks at the daemon: each is one request on its socket.
LOOK_S = 0.1
# Seconds for a step of a run on a well cluster; it takes one to five.
STEP_S = 60.0
# Seconds for a run to end after its last fault: an open circuit alone is left alone for 60.
RUN_S = 240.0
# Seconds for any answer of `benchctl status`, whatever is broken: 0.15 on an idle machine.
AT_ONCE_S = 3.0
# Seconds for the daemon to end after SIGTERM.
TERM_S = 10.0

# One line for every start of a payload; lines this short are appended whole.
_MARK = 'printf "%s %s %s\\n" "$BENCHD_TOKEN" "$SLURM_JOB_ID" "${SLURM_RESTART_COUNT:-0}" >>"$1"\n'
_BEACON = (
    _MARK
    + """exec python3 -S -c '
import os, socket
server = socket.create_server(("", int(os.environ["BENCHD_PORT"])))
while True:
    server.accept()[0].close()
'
"""
)
_TICK = _MARK + 'sleep "$2"\n'

_RECIPE = """\
name: torture
service:
  name: beacon
  kind: generic
  command: bash
  args: [{payload}/beacon.sh, {payload}/starts]
  ports: [auto]
  health_check: {{type: tcp, interval: 0.5s, timeout: 5s, retries: 120}}
  resources: {{cpus_per_task: 1, mem: 50M, time: "00:20:00"}}
  restart: {{policy: {restart}, max_attempts: 3}}
  concurrent: {concurrent}
client:
  name: tick
  kind: generic
  target_service: {{name: beacon}}
  command: bash
  args: [{payload}/tick.sh, {payload}/starts, "{seconds:g}"]
  resources: {{cpus_per_task: 1, mem: 50M, time: "00:20:00"}}
  restart: {{policy: {restart}, max_attempts: 3}}
repeat: {repeat}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a scenario wants of its stage."""

    door: Mapping[str, str] = field(default_factory=dict)  # lines of sshd_config
    slurm_conf: Mapping[str, str] = field(default_factory=dict)  # for programs on the login node
    cluster: Mapping[str, object] = field(default_factory=dict)  # over the cluster's settings
    repeat: int = 2
    seconds: float = 0.5  # how long one measurement takes
    concurrent: bool = False  # all clients at once
    restart: str = "never"
    # Slurm itself loses jobs: they may be in none of its books, and a run may say that it failed.
    forgets: bool = False
    cable: bool = False  # a proxy in between, whose connections can be reset


class Stage:
    """A door, a daemon and a recipe; use it as a context manager."""

    def __init__(
        self, slurm: RealSlurm, home: Path, setting: Setting, *, seed: int, quick: bool
    ) -> None:
        self.slurm = slurm
        self.testbed = slurm.lease.testbed
        self.home = home
        self.setting = setting
        self.random = random.Random(seed)
        self.quick = quick  # the short form: fewer faults of a kind
        self.violations: list[str] = []
        self.faults = 0
        self.slowest_status = 0.0
        self.workdir = slurm.workdir()
        self.payload = slurm.workdir()
        self.door = Door(
            self.testbed, self.workdir.name, setting.door, slurm_conf=setting.slurm_conf
        )
        self.cable = Cable(self.door.port) if setting.cable else None
        self.daemon = RunningDaemon(self._config())
        self.recipe = self._recipe()
        self._socket = Socket(str(self.daemon.socket))
        self._socket.patience = STEP_S
        self._undo: list[Callable[[], object]] = []

    def _config(self) -> Path:
        path = self.slurm.lease.write_config(self.home, workdir=self.workdir)
        told = yaml.safe_load(path.read_text())
        cluster = told["clusters"]["testbed"]
        cluster["ssh"] |= {"port": self.door.port, "known_hosts": str(self.door.known_hosts)}
        if self.cable is not None:
            hosts = self.door.known_hosts
            told_by_cable = hosts.read_text().replace(f":{self.door.port} ", f":{self.cable.port} ")
            hosts.write_text(hosts.read_text() + told_by_cable)
            cluster["ssh"]["port"] = self.cable.port
        for key, value in self.setting.cluster.items():
            cluster[key] = {**cluster[key], **value} if isinstance(value, Mapping) else value
        path.write_text(yaml.safe_dump(told))
        return path

    def _recipe(self) -> Path:
        (self.payload / "beacon.sh").write_text(_BEACON)
        (self.payload / "tick.sh").write_text(_TICK)
        self.starts.touch()
        path = self.home / "torture.yaml"
        s = self.setting
        text = _RECIPE.format(
            payload=self.payload,
            repeat=min(s.repeat, 2) if self.quick and not s.concurrent else s.repeat,
            seconds=s.seconds,
            concurrent=str(s.concurrent).lower(),
            restart=s.restart,
        )
        path.write_text(text)
        return path

    @property
    def starts(self) -> Path:
        """The file to which every payload writes a line when it starts."""
        return self.payload / "starts"

    def __enter__(self) -> Self:
        self.door.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.daemon.close()
        for undo in reversed(self._undo):
            undo()
        if self.cable is not None:
            self.cable.close()
        self.door.resume()
        self.door.__exit__(kind, error, trace)

    def afterwards(self, undo: Callable[[], object]) -> None:
        """Do this when the stage is left, whatever happened on it."""
        self._undo.append(undo)

    def reset(self) -> None:
        """Reset the connection, as a router does that forgot it."""
        assert self.cable is not None
        self.cable.reset()

    # --- what happens -----------------------------------------------------------------------------

    def start(self) -> None:
        """Start the daemon and drop the recipe."""
        self.daemon.start()
        self.daemon.drop(self.recipe)

    def again(self) -> None:
        """Have the same measured once more by another run, and wait for its end."""
        before = self.run()["id"]
        self.daemon.drop(self.recipe, "again.yaml")
        self.until(lambda: self.run()["id"] != before, "the second run is accepted")
        run = self.until_over()
        self.expect(run["outcome"] == "PASSED", f"the run afterwards did not pass: {run}")

    def fault(self, number: int = 1) -> None:
        """Count what was done to it."""
        self.faults += number

    def wrong(self, sentence: str) -> None:
        """Note what should not have been."""
        self.violations.append(sentence)

    def expect(self, condition: object, sentence: str) -> None:
        """Note the sentence unless the condition holds."""
        if not condition:
            self.wrong(sentence)

    def pause(self, shortest: float, longest: float) -> None:
        """Let a random time pass: that is what these tests are about."""
        time.sleep(self.random.uniform(shortest, longest))

    def until(self, condition: Callable[[], Any], what: str, seconds: float = STEP_S) -> Any:
        """Return the first true answer; a daemon that is not there has given none."""
        deadline = time.monotonic() + seconds
        while True:
            with suppress(Stop):
                if answer := condition():
                    return answer
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:.0f} s: {what}\n{self.daemon.tail()}")
            time.sleep(LOOK_S)

    # --- what the daemon says ---------------------------------------------------------------------

    def ask(self, path: str) -> dict[str, Any]:
        """Ask the daemon over its socket; ``Stop`` when it does not answer."""
        return self._socket.get(path)

    def jobs(self) -> list[dict[str, Any]]:
        """Return all jobs, oldest first."""
        jobs: list[dict[str, Any]] = self.ask("/v1/jobs")["jobs"]
        return jobs

    def run(self) -> dict[str, Any]:
        """Return the newest run, or nothing."""
        runs: list[dict[str, Any]] = self.ask("/v1/runs")["runs"]
        return runs[0] if runs else {}

    def job(self, role: str) -> dict[str, Any]:
        """Return the newest job of a role that was given to Slurm, or nothing."""
        sent = [j for j in self.jobs() if j["role"] == role and j["slurm_id"]]
        return sent[-1] if sent else {}

    def until_sent(self, role: str = "service") -> None:
        """Wait until Slurm has a job of this role."""
        self.until(lambda: self.job(role), f"a {role} is in Slurm")

    def until_ready(self) -> None:
        """Wait until the service answers."""
        self.until(lambda: self.job("service").get("readiness") == "READY", "the service answers")

    def until_over(self, seconds: float = RUN_S) -> dict[str, Any]:
        """Wait until the run has ended, and return it."""

        def over() -> dict[str, Any] | None:
            run = self.run()
            return run if run.get("outcome") else None

        run: dict[str, Any] = self.until(over, "the run ends", seconds)
        return run

    def cluster(self) -> dict[str, Any]:
        """Return how the cluster does, as ``benchctl status`` says it: at once, come what may."""
        began = time.monotonic()
        told: dict[str, Any] = self.daemon.ask("status")
        took = time.monotonic() - began
        self.slowest_status = max(self.slowest_status, took)
        self.expect(took < AT_ONCE_S, f"benchctl status took {took:.1f} s")
        found: dict[str, Any] = told["daemon"]["clusters"][0]
        return found

    def until_trouble(self) -> dict[str, Any]:
        """Wait until status says what is wrong, since when, and what happens next."""

        def troubled() -> dict[str, Any] | None:
            cluster = self.cluster()
            return cluster if cluster["detail"] else None

        found: dict[str, Any] = self.until(troubled, "status says what is wrong")
        since = found["unreachable_since"]
        self.expect(since and time.time() - since < STEP_S, f"unreachable since {since}: {found}")
        self.expect(found["next"], f"status does not say what happens next: {found}")
        return found

    def until_left_behind(self, logins: int) -> None:
        """Wait until a session that hangs is given up: status says so, or another is there already.

        The next login may come within a tenth of a second, too soon for anybody to ask.
        """

        def gone() -> bool:
            cluster = self.cluster()
            return bool(cluster["detail"]) or cluster["logins"] > logins

        self.until(gone, "the hanging session is given up")

    def until_paused(self, words: str) -> None:
        """Wait until the cluster is paused for a human, with these words, and stays so."""
        found = self.until(
            lambda: c if (c := self.cluster())["paused"] else None,
            f"the cluster is paused: {words}",
        )
        self.expect(words in found["detail"], f"not the reason to pause: {found['detail']}")
        self.expect("cluster resume" in found["next"], f"no way back in: {found['next']}")
        logins = found["logins"]
        self.pause(1.0, 2.0)
        again = self.cluster()
        self.expect(again["logins"] == logins, "logged in again while paused")

    def resume(self) -> None:
        """Say that it is mended, as a human does."""
        said = self.daemon.ctl("cluster", "resume", "testbed")
        self.expect(said.returncode == 0, f"benchctl cluster resume: {said.stderr}")

    # --- the daemon's own end ---------------------------------------------------------------------

    def terminate(self) -> None:
        """SIGTERM: it ends in time, with status 0, and submits nothing any more."""
        process = self.daemon.process
        assert process is not None
        signalled = time.time()
        process.send_signal(signal.SIGTERM)
        self.fault()
        try:
            status = process.wait(2 * TERM_S)
        except TimeoutError:
            status = None
        took = time.time() - signalled
        self.expect(took <= TERM_S, f"took {took:.1f} s to end after SIGTERM")
        self.expect(status == 0, f"ended with {status} after SIGTERM")
        # What was on its way may still be starting; what begins a second later was sent later.
        late = [call for at, call in self.door.calls() if at > signalled + 1.0]
        self.expect(not late, f"submitted after SIGTERM: {late}")

    def refuses_to_start(self, status: int, words: str) -> None:
        """Start it where it cannot work: it ends with this status and says these words."""
        before = len(self.log())
        self.daemon.spawn()
        process = self.daemon.process
        assert process is not None
        self.fault()
        got = process.wait(STEP_S)
        said = self.log()[before:]
        self.expect(got == status, f"ended with {got} instead of {status}: {said[-300:]}")
        self.expect(words in said, f"does not say {words!r}: {said[-300:]}")

    def log(self) -> str:
        """Return everything the daemon wrote, over all its lives."""
        file = self.daemon.log_file
        return file.read_text(errors="replace") if file.exists() else ""

    def keep(self, place: Path) -> None:
        """Copy what helps to understand a failure."""
        place.mkdir(parents=True, exist_ok=True)
        for file in (self.daemon.log_file, self.daemon.config, self.starts):
            with suppress(OSError):
                shutil.copy(file, place)
        print(f"kept: {place}", file=sys.stderr)

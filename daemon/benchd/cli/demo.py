"""``benchd demo``: the whole job, with nothing pretended.

A cluster in a process of its own with a real SSH port, a daemon in another, a recipe copied into
the inbox as a user would, and everything that is shown comes over the daemon's socket.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from benchd import config as configuration
from benchd.api.sockets import PATH_LIMIT
from benchd.cli.follow import changes, looks
from benchd.cli.outcomes import result_table
from benchd.cli.tables import clean, on_terminal
from benchd.cli.wire import Daemon, Stop
from benchd.errors import UserError

OK, NO = 0, 1
START_PATIENCE = 60.0  # seconds for a process to be ready; a loaded machine needs ten
STOP_PATIENCE = 10.0  # seconds for a process to end after SIGTERM
END_PATIENCE = 60.0  # seconds for a cancelled run to be gone from somebody's cluster
LOOK = 0.1  # seconds between two looks whether something is there
LINES_SHOWN = 25  # last lines of a log that say what went wrong
NAME = "demo.yaml"


class Demo:
    """One demonstration, from nothing to a report."""

    def __init__(
        self, *, directory: Path | None, config: Path | None, recipe: Path | None, timeout: float
    ) -> None:
        self.directory = directory
        self.config = config
        self.recipe = recipe
        self.deadline = time.monotonic() + timeout
        self.timeout = timeout
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.sockets: Path | None = None

    def run(self) -> int:
        """Show everything; 0 only if the run passed."""
        before = signal.signal(signal.SIGTERM, _interrupt)
        self.dir = self._directory()
        try:
            return self._run()
        except (UserError, Stop) as error:
            print(f"\nbenchd demo: {error}", file=sys.stderr)
            self._tails()
            return NO
        except KeyboardInterrupt:
            print(f"\nbenchd demo: interrupted; all files are in {self.dir}", file=sys.stderr)
            raise
        finally:
            self._stop_all()
            signal.signal(signal.SIGTERM, before)

    def _run(self) -> int:
        recipe = self._recipe()
        settings = self._cluster()
        state, socket = Path(settings["state_dir"]), settings["socket"]
        self._start("benchd", "run", "--config", str(self.dir / "benchd.yaml"))
        daemon = Daemon(socket)
        self._until("the daemon answers", lambda: _answers(daemon))
        _say("daemon", f"a separate `benchd run`, socket {_short(Path(socket))}")
        inbox = Path(daemon.get("/v1/status")["daemon"]["inbox"])
        shutil.copy(recipe, inbox / recipe.name)
        _say("recipe", f"cp {_short(recipe)} {_short(inbox)}/")
        run = self._accepted(daemon, inbox / "rejected" / recipe.name)
        print()
        try:
            seen = self._watch(daemon, run)
        except BaseException:
            self._cancel(daemon, run)
            raise
        return self._finish(daemon, seen, state)

    # --- the parts ------------------------------------------------------------------------------

    def _directory(self) -> Path:
        if self.directory is not None:
            place = self.directory.absolute()
            if place.exists() and any(place.iterdir()):
                raise UserError(f"{place} is not empty: name a new directory, or leave --dir out")
            place.mkdir(parents=True, exist_ok=True)
            return place
        base = Path.cwd() / ".demo"
        try:
            base.mkdir(exist_ok=True)
            stamp = time.strftime("%Y%m%d-%H%M%S-")
            return Path(tempfile.mkdtemp(prefix=stamp, dir=base))
        except OSError:
            return Path(tempfile.mkdtemp(prefix="benchd-demo-"))

    def _recipe(self) -> Path:
        """Return the recipe: the one asked for, the checkout's, or the package's own copy."""
        if self.recipe is not None:
            if not self.recipe.is_file():
                raise UserError(f"there is no recipe {self.recipe}")
            return self.recipe
        checkout = Path(__file__).parents[3] / "recipes" / NAME
        if checkout.is_file():
            return checkout
        packed = resources.files("benchd").joinpath("recipes", NAME)
        if not packed.is_file():
            raise UserError(f"recipes/{NAME} is not there: run it in a checkout, or name --recipe")
        copy = self.dir / NAME
        copy.write_bytes(packed.read_bytes())
        return copy

    def _cluster(self) -> dict[str, Any]:
        """Bring the cluster up, and write the configuration of a daemon of our own for it."""
        if self.config is not None:
            configuration.load(self.config)  # says its mistakes
            given = yaml.safe_load(self.config.read_text(encoding="utf-8"))
            _say("cluster", f"of {_short(self.config)}")
        else:
            home = self.dir / "cluster"
            self._start("sim", "sim", "--dir", str(home))
            self._until("the embedded cluster is ready", lambda: self._said("sim", "ready"))
            given = yaml.safe_load((home / "benchd.yaml").read_text(encoding="utf-8"))
            ssh = next(iter(given["clusters"].values()))["ssh"]
            where = f"{ssh['host']}:{ssh['port']}"
            _say("cluster", f"embedded Slurm behind a real SSH server on {where}")
        # Its own state and socket: a daemon that this user runs already is not disturbed.
        given |= {"state_dir": str(self.dir / "state"), "socket": str(self._socket())}
        if self.config is not None:
            given["http"] = None
        (self.dir / "benchd.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
        return dict(given)

    def _socket(self) -> Path:
        near = self.dir / "control.sock"
        if len(os.fsencode(near)) + len("/.12345678") < PATH_LIMIT:
            return near
        self.sockets = Path(tempfile.mkdtemp(prefix="benchd-"))  # the kernel allows 107 bytes
        return self.sockets / "control.sock"

    def _accepted(self, daemon: Daemon, refused: Path) -> str:
        error = refused.with_name(f"{refused.name}.error.txt")
        found: list[str] = []

        def taken() -> bool:
            if error.exists():
                raise UserError(f"the recipe was refused:\n{error.read_text(encoding='utf-8')}")
            found.extend(str(run["id"]) for run in daemon.get("/v1/runs")["runs"])
            return bool(found)

        self._until("the recipe is taken in", taken)
        return found[0]

    def _watch(self, daemon: Daemon, run: str) -> dict[str, Any]:
        if on_terminal(sys.stdout):
            from benchd.cli.live import live  # noqa: PLC0415 - rich, which only a terminal needs

            return dict(live(self._looks(daemon, run)))
        before: dict[str, str] = {}
        seen: dict[str, Any] = {}
        start = time.monotonic()
        for seen in self._looks(daemon, run):
            for line in changes(seen, before):
                print(f"{time.monotonic() - start:6.1f} s  {line}", flush=True)
        return seen

    def _looks(self, daemon: Daemon, run: str) -> Iterator[dict[str, Any]]:
        return looks(daemon, run, check=self._check)

    def _check(self) -> None:
        """Raise when going on makes no sense: a process has died, or time is up."""
        for name, child in self.children.items():
            if child.poll() is not None:
                raise UserError(f"{name} ended with status {child.returncode}")
        if time.monotonic() > self.deadline:
            raise UserError(f"not done after {self.timeout:.0f} s: --timeout allows more")

    def _cancel(self, daemon: Daemon, run: str) -> None:
        """Leave nothing behind on somebody's cluster; the embedded one goes away as a whole."""
        if self.config is None:
            return
        print("cancelling what is left on the cluster ...", file=sys.stderr)
        try:
            daemon.post(f"/v1/runs/{run}/cancel")
            until = time.monotonic() + END_PATIENCE
            while daemon.get(f"/v1/runs/{run}")["outcome"] is None and time.monotonic() < until:
                time.sleep(LOOK)
        except Stop as stop:
            print(f"benchd demo: {stop}", file=sys.stderr)

    # --- the end --------------------------------------------------------------------------------

    def _finish(self, daemon: Daemon, run: dict[str, Any], state: Path) -> int:
        documents = daemon.get("/v1/results", run=run["id"])["results"]
        print()
        result_table(documents)
        report = state / "runs" / run["id"] / "report.html"
        if not report.is_file():
            report = self.dir / "report.html"
            report.write_text(daemon.text(f"/v1/runs/{run['id']}/report"), encoding="utf-8")
        print()
        _say("outcome", str(run["outcome"]) + (f": {run['why']}" if run["why"] else ""))
        _say("report", str(report))
        _say("all else", str(self.dir))
        if run["outcome"] == "PASSED":
            return OK
        for job in run["job_list"]:
            if job["state"] == "FAILED":
                print(f"\n{job['token']}", file=sys.stderr)
                why = daemon.get(f"/v1/jobs/{job['token']}/why")
                for sentence in why["sentences"]:
                    print(f"  {clean(sentence)}", file=sys.stderr)
        self._tails()
        return NO

    def _tails(self) -> None:
        """Print the last lines of every log: what went wrong is usually there."""
        for log in sorted(self.dir.glob("*.log")):
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            print(f"\n{log}, its last lines:", file=sys.stderr)
            for line in lines[-LINES_SHOWN:]:
                print(f"  {clean(line)}", file=sys.stderr)

    # --- processes ------------------------------------------------------------------------------

    def _start(self, name: str, *arguments: str) -> None:
        command = [sys.executable, "-m", "benchd.cli.daemon", *arguments]
        with (self.dir / f"{name}.log").open("wb") as log:
            self.children[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we end them in order
            )

    def _said(self, name: str, word: str) -> bool:
        return word in (self.dir / f"{name}.log").read_text(errors="replace").splitlines()

    def _until(self, what: str, holds: Callable[[], bool]) -> None:
        until = min(time.monotonic() + START_PATIENCE, self.deadline)
        while not holds():
            self._check()
            if time.monotonic() > until:
                raise UserError(f"waited in vain until {what}")
            time.sleep(LOOK)

    def _stop_all(self) -> None:
        """End the daemon before the cluster it talks to."""
        for child in reversed(self.children.values()):
            child.terminate()
            try:
                child.wait(STOP_PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if self.sockets is not None:
            shutil.rmtree(self.sockets, ignore_errors=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _answers(daemon: Daemon) -> bool:
    try:
        daemon.get("/healthz")
    except Stop:
        return False
    return True


def _say(what: str, words: str) -> None:
    print(f"{what:<9}{words}", flush=True)


def _short(path: Path) -> str:
    """Return a path relative to where the user is, if it is below."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)

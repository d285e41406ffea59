"""Tests on real components: what they need, what happens when it is not there, and the count.

A test says what it needs: ``@pytest.mark.real("slurm", "redis-server")``. What this machine does
not have is skipped with its reason and counted at the end. With ``BENCHD_REQUIRE_REAL=1`` such a
skip is a failure, but for what ``unobtainable.toml`` lists. No test skips in another way: that is
a failure too, or a suite could turn green by testing nothing.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest

SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # daemons; a plain user's PATH often lacks them
LONGEST_S = 180.0  # for one test with its fixtures; the longest take 20 s on two busy cores
BUILD = Path(__file__).resolve().parents[2] / "build"
SPARK = BUILD / "spark" / "bin" / "python"  # one that has pyspark
# Where `make test-heavy` puts an Apptainer.
INSTALLED = (
    Path(__file__).resolve().parents[2] / "build" / "apptainer" / "usr" / "bin" / "apptainer"
)
UNOBTAINABLE = Path(__file__).resolve().parent.parent / "unobtainable.toml"
Probe = Callable[[], str | None]  # None: it is here; otherwise the reason why not


def _binaries(*names: str) -> Probe:
    def look() -> str | None:
        path = f"{os.environ.get('PATH', '')}:{SBIN}"
        absent = [name for name in names if shutil.which(name, path=path) is None]
        return f"{', '.join(absent)} not installed" if absent else None

    return look


def _modules(*names: str) -> Probe:
    def look() -> str | None:
        absent = [name for name in names if importlib.util.find_spec(name) is None]
        return f"Python package {', '.join(absent)} not installed" if absent else None

    return look


def _path(path: str, what: str) -> Probe:
    return lambda: None if Path(path).exists() else what


def _user_namespaces() -> str | None:
    """Say why nothing can be mounted for one process alone."""
    if (why := _binaries("unshare")()) is not None:
        return why
    done = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False)
    return None if done.returncode == 0 else "unshare -rm is not permitted"


def _tmpfs() -> str | None:
    """Say why no small disk can be mounted."""
    with tempfile.TemporaryDirectory() as home:
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "small", home]
        done = subprocess.run(mount, capture_output=True, check=False)
        if done.returncode == 0:
            subprocess.run(["umount", home], check=True)
    return None if done.returncode == 0 else "only root may mount a tmpfs"


def _mknod() -> str | None:
    """Say why device files cannot be made."""
    with tempfile.TemporaryDirectory() as home:
        try:
            os.mknod(Path(home) / "zero", stat.S_IFCHR | 0o600, os.makedev(1, 5))
        except PermissionError:
            return "only root may make device files"
    return None


def where_ray_is() -> str | None:
    """Return Ray's program: where `make test-heavy` puts it, beside this Python, or on the PATH."""
    places = (BUILD / "ray" / "bin", Path(sys.executable).parent, os.environ.get("PATH", ""))
    return shutil.which("ray", path=":".join(map(str, places)))


def _slurmrestd() -> str | None:
    """Say why no slurmrestd can be run."""
    if (why := _binaries("slurmrestd")()) is not None:
        return why
    if os.geteuid() != 0:
        return "slurmrestd works neither as SlurmUser nor for it: only root can start it here"
    found = next(Path("/usr/lib").glob("*/slurm*/auth_jwt.so"), None)
    return None if found else "slurm-wlm-jwt-plugin not installed"


def _postgresql() -> str | None:
    """Say why there is no PostgreSQL; Debian keeps its programs where no PATH leads."""
    found = any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return None if found else _binaries("initdb", "postgres", "pgbench")()


CHROMA = Path(__file__).resolve().parents[2] / "build" / "chroma" / "bin" / "chroma"
_SLURM = ("munged", "slurmctld", "slurmd", "slurmdbd", "sbatch", "mariadbd", "mariadb-install-db")
COMPONENTS: dict[str, Probe] = {
    "slurm": _binaries(*_SLURM),
    "sshd": _binaries("sshd", "ssh-keygen"),
    "slurmrestd": _slurmrestd,
    "redis-server": _binaries("redis-server"),
    "redis-benchmark": _binaries("redis-benchmark"),
    "mariadb": _binaries("mariadbd", "mariadb-install-db", "mariadb"),
    "sysbench": _binaries("sysbench"),
    "postgresql": _postgresql,
    "chroma": _path(str(CHROMA), f"{CHROMA.name} not installed by tests/install/chroma.sh"),
    "prometheus": _binaries("prometheus", "promtool"),
    "redis-exporter": _binaries("prometheus-redis-exporter"),
    "mysqld-exporter": _binaries("prometheus-mysqld-exporter"),
    "node-exporter": _binaries("prometheus-node-exporter"),
    "process-exporter": _binaries("prometheus-process-exporter"),
    "chromium": _binaries("chromium"),
    "shellcheck": _binaries("shellcheck"),
    "systemd-analyze": _binaries("systemd-analyze"),
    "zsh": _binaries("zsh"),
    "fish": _binaries("fish"),
    "xllamacpp": _modules("xllamacpp"),
    "ray": lambda: (
        None if where_ray_is() else "tests/install/own-python.sh ray has not installed it"
    ),
    "spark": _path(str(SPARK), "tests/install/own-python.sh spark has not installed it"),
    "java": _binaries("java"),
    "apptainer": _path(str(INSTALLED), "tests/install/apptainer.sh has not installed it"),
    "charliecloud": _binaries("ch-run"),
    "busybox": _binaries("busybox"),
    "mknod": _mknod,
    "root": lambda: None if os.geteuid() == 0 else "other users can be played by root only",
    "tmpfs": _tmpfs,
    "user-namespaces": _user_namespaces,
    "gpu": _path("/dev/nvidia0", "no /dev/nvidia0"),
    "ollama": _binaries("ollama"),
    "grafana": _binaries("grafana-server"),
    "loki": _binaries("loki"),
    "cadvisor": _binaries("cadvisor"),
    "systemd": _path("/run/systemd/system", "systemd is not the init of this machine"),
}

_ours = pytest.StashKey[bool]()


def unobtainable() -> dict[str, str]:
    """Return component -> why nobody can be asked to have it."""
    told = tomllib.loads(UNOBTAINABLE.read_text())
    return {name: entry["reason"] for name, entry in told.items()}


@cache
def missing(name: str) -> str | None:
    """Return why a component cannot be used on this machine, or None."""
    return COMPONENTS[name]()


def is_required() -> bool:
    """Say whether a missing component is a failure, as in CI."""
    return os.environ.get("BENCHD_REQUIRE_REAL") == "1"


def _on_term(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt  # so that pytest takes down what its fixtures brought up


class Tally:
    """Counts what ran on real components and what could not run here, with the reason.

    From the reports, which also come from worker processes.
    """

    def __init__(self) -> None:
        self.used: Counter[str] = Counter()
        self.skips: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once, when it is set up."""
        if report.when == "setup":
            told = dict(report.user_properties)
            self.used.update(str(told["real"]).split() if "real" in told else ())
            self.skips.update([str(told["absent"])] if "absent" in told else ())

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say it at the end."""
        if not self.used and not self.skips:
            return
        line = terminalreporter.line
        terminalreporter.section("real components")
        if self.used:
            line("used by tests: " + ", ".join(f"{n} {self.used[n]}" for n in sorted(self.used)))
        for told, count in sorted(self.skips.items()):
            line(f"{count} not run here: {told}", yellow=True)
        if self.skips and not is_required():
            line("make test installs what can be installed, where it may.")


def pytest_configure(config: pytest.Config) -> None:
    """Start counting; treat SIGTERM like Ctrl-C."""
    config.pluginmanager.register(Tally(), "real-components")
    signal.signal(signal.SIGTERM, _on_term)


def _needs(item: pytest.Item) -> list[str]:
    return sorted({str(name) for mark in item.iter_markers("real") for name in mark.args})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a component that nobody has heard of: its tests would be skipped for ever."""
    for item in items:
        marked = item.get_closest_marker("real") is not None
        unknown = [name for name in _needs(item) if name not in COMPONENTS]
        if unknown or (marked and not _needs(item)):
            raise pytest.UsageError(
                f"{item.nodeid}: mark.real({', '.join(unknown)}): "
                f"name one or more of {', '.join(COMPONENTS)}"
            )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that hangs, instead of hanging with it; again, if its fixtures then hang."""

    def on_alarm(_number: int, _frame: FrameType | None) -> NoReturn:
        pytest.fail(f"{item.nodeid} hangs: no end after {LONGEST_S:.0f} s")

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S, LONGEST_S)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail, a test whose components are not on this machine."""
    needs = _needs(item)
    absent = {name: why for name in needs if (why := missing(name)) is not None}
    if not absent:
        item.user_properties.append(("real", " ".join(needs)))
        return
    told = "; ".join(f"{name}: {why}" for name, why in absent.items())
    listed = unobtainable()
    if is_required() and not set(absent) <= set(listed):
        pytest.fail(f"BENCHD_REQUIRE_REAL=1, but {told}", pytrace=False)
    item.stash[_ours] = True
    item.user_properties.append(("absent", told))
    pytest.skip(told)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip that did not come from here into a failure."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and not item.stash.get(_ours, False):
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid} ({call.when}) skipped by itself: {report.longrepr}\n"
            "Say what it needs with @pytest.mark.real(...); see tests/support/reality.py."
        )
    return report

"""Transactions that pgbench could not finish, or never sent: no latency is theirs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from benchd.catalog import CATALOG
from benchd.catalog.readings import pgbench
from benchd.core.spec import JobSpec, Role

SPEC = JobSpec(role=Role.CLIENT, name="pgbench", kind="pgbench")
# Lines that pgbench 15.18 wrote: client, number, microseconds, script, time, time, lag.
FAILED = "0 0 1500 0 1795300434 584700\n0 1 failed 0 1795300434 584767\n"
SKIPPED = "1 1 1700 0 1795300436 633700 200\n1 2 skipped 0 1795300436 633791 0\n"
SAID = """\
pgbench (15.18 (Debian 15.18-0+deb12u1))
number of transactions actually processed: 1643
number of failed transactions: 6034 (78.598%)
number of transactions skipped: 12 (0.156%)
latency average = 1.557 ms (including failures)
tps = 824.854270 (without initial connection time)
"""


@pytest.mark.parametrize(
    ("log", "option", "expected"),
    [
        (FAILED, "--jobs=1", {"service": "1.500000 1\n"}),
        (SKIPPED, "--rate=9", {"sched": "1.700000 1\n", "service": "1.500000 1\n"}),
    ],
)
def test_what_took_no_time_is_not_timed(
    log: str, option: str, expected: dict[str, str], tmp_path: Path
) -> None:
    """Lines without a time are left out of the latencies that are counted on the node."""
    kind = CATALOG.clients["pgbench"]
    (tmp_path / "pgbench.sh").write_text(str(kind.payload(SPEC).files["pgbench.sh"]))
    (tmp_path / "log").write_text(log)
    tool = tmp_path / "tool"  # leaves the log where it was told to
    tool.write_text(
        '#!/bin/sh\nfor each in "$@"; do case $each in\n'
        f'--log-prefix=*) cp {tmp_path}/log "${{each#*=}}.1" ;;\nesac; done\n'
    )
    tool.chmod(0o755)
    words = ["127.0.0.1", "1", str(tmp_path), "benchd", "benchd", "60", "0", "1", "1", str(tool)]
    command = ["sh", str(tmp_path / "pgbench.sh"), *words, option]
    subprocess.run(command, env={"PATH": os.environ["PATH"]}, check=True, capture_output=True)
    found = {name: (tmp_path / f"latency-{name}.txt").read_text() for name in expected}
    assert expected == found


def test_what_failed_or_was_skipped_counts() -> None:
    """Failures are errors and what was not sent is dropped; an average over failures is none."""
    files = {"result/pgbench.txt": SAID.encode(), "result/latency-service.txt": b"1.5 1643\n"}
    measured = pgbench(files, SPEC)
    counts = measured.counts
    assert (7689, 1643, 6034, 12) == (
        counts.scheduled,
        counts.ok,
        counts.errors,
        counts.dropped,
    )
    service = measured.metrics["latency_service"]
    assert (1643, None, 1.5) == (service.n, service.mean, service.min)

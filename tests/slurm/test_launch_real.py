"""A node that cannot start jobs: what real Slurm says, and what benchd makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from benchd.core.model import JobState, Observation, SubState, Trigger
from benchd.core.news import events_of
from benchd.core.slurm import parse_squeue, squeue_argv
from benchd.core.spec import RestartPolicy
from slurm.lease import Lease
from slurm.testbed import until
from slurm.testbed_files import Options
from support.builders import client

pytestmark = pytest.mark.real("slurm")


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lease]:
    """Run a cluster whose only node has a prolog that fails."""
    prolog = tmp_path_factory.mktemp("site") / "prolog"
    prolog.write_text("#!/bin/sh\nexit 1\n")
    prolog.chmod(0o755)
    for folder in (prolog.parent, *prolog.parent.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    conf = f"Prolog={prolog}\nPrologFlags=Alloc"
    with Lease(Options(nodes=1, gpus=0, accounting=False, extra_conf=conf)) as lease:
        yield lease


def submitted(lease: Lease, name: str, *options: str) -> Observation:
    """Send a job and return its row when the node has refused it."""
    testbed = lease.testbed
    # A node whose prolog failed is drained.
    testbed.run("scontrol", "update", "nodename=n1", "state=resume")
    made = testbed.run(
        "sbatch", *options, f"--job-name={name}", "--output=/dev/null", "--wrap=true"
    )
    assert made.returncode == 0, made.stderr
    seen: list[Observation] = []

    def is_refused() -> bool:
        said = testbed.run(*squeue_argv(name)).stdout
        seen[:] = parse_squeue(said.encode())
        # For a moment it is COMPLETING, with the reason of what it will be.
        held = seen[0].word == "PENDING" and "held" in seen[0].reason
        return held or seen[0].word == "CANCELLED"

    assert until(is_refused, 30.0), seen
    return seen[0]


def test_slurm_cancels_what_the_prolog_did_not_let_begin(broken: Lease) -> None:
    """A job that may not be requeued is CANCELLED, by nobody: its node could not start it."""
    row = submitted(broken, "once", "--no-requeue")
    job = replace(client(), state=JobState.SUBMITTED, slurm_id=row.slurm_id, tries=1)
    (event,) = events_of(job, row, None, unclaimed=True)
    assert (Trigger.SEEN_FAILED, "LAUNCH_FAILED") == (event.trigger, event.why)


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        (1, (Trigger.SEEN_PENDING, None, SubState.HELD)),
        (2, (Trigger.SEEN_FAILED, "LAUNCH_FAILED", SubState.HELD)),
    ],
)
def test_slurm_holds_what_it_may_requeue(
    broken: Lease, attempts: int, expected: tuple[Trigger, str | None, SubState]
) -> None:
    """It is held, which is seen; where another attempt is allowed, it is given up for that."""
    row = submitted(broken, f"again{attempts}", "--requeue")
    spec = client(restart=RestartPolicy(requeue=True, max_attempts=attempts)).spec
    job = replace(client(), spec=spec, state=JobState.SUBMITTED, slurm_id=row.slurm_id, tries=1)
    (event,) = events_of(job, row, None)
    assert expected == (event.trigger, event.why, event.substate)

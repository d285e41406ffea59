"""Limits that accounting enforces: in what words real Slurm refuses or holds back what is over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchd.core.slurm import (
    ReasonClass,
    SbatchKind,
    SbatchVerdict,
    classify_sbatch,
    parse_squeue,
    reason_class,
    squeue_argv,
)
from slurm.lease import Lease
from slurm.testbed import until
from slurm.testbed_files import Options

# Slurm's own account, which runs everything else here, is above all limits.
pytestmark = pytest.mark.real("slurm", "root")
USER = "nobody"
AS_USER = ("setpriv", f"--reuid={USER}", "--clear-groups", "env", "-C", "/")


@pytest.fixture(scope="module")
def limited() -> Iterator[Lease]:
    """Run a cluster on which the limits of accounts are enforced."""
    conf = "AccountingStorageEnforce=limits"
    with Lease(Options(nodes=1, gpus=0, extra_conf=conf)) as lease:
        lease.testbed.run("sacctmgr", "-i", "-Q", "add", "user", USER, "account=testbed")
        yield lease


@pytest.fixture
def limit(limited: Lease) -> Iterator[Lease]:
    """Hand out the cluster, and lift afterwards what a test has set."""
    yield limited
    lifted = ("maxsubmitjobs=-1", "maxjobs=-1", "maxwall=-1")
    limited.testbed.run("sacctmgr", "-i", "modify", "account", "testbed", "set", *lifted)
    limited.testbed.run("scancel", f"--user={USER}")


def enforce(lease: Lease, setting: str) -> None:
    """Set a limit of the account and wait until the controller has heard of it."""
    run = lease.testbed.run
    run("sacctmgr", "-i", "modify", "account", "testbed", "set", setting)
    name, _, value = setting.partition("=")
    shown = {"maxwall": "MaxWallPJ=1"}.get(name, f"{name}={value}").lower()
    asked = ("scontrol", "show", "assoc_mgr", "flags=assoc", "accounts=testbed")
    assert until(lambda: shown in run(*asked).stdout.lower(), 20.0), run(*asked).stdout


def send(lease: Lease, *options: str) -> SbatchVerdict:
    """Submit a job and return what sbatch's answer means."""
    argv = ("sbatch", "--parsable", *options, "--output=/dev/null", "--wrap=sleep 60")
    done = lease.testbed.run(*AS_USER, *argv)
    return classify_sbatch(done.returncode, done.stdout, done.stderr)


def test_a_full_queue_is_a_quota_by_its_name(limit: Lease) -> None:
    """The second job of a user who may queue one is refused for now, for a limit that is named."""
    enforce(limit, "maxsubmitjobs=1")
    first, second = send(limit, "--hold"), send(limit, "--hold")
    assert SbatchKind.ACCEPTED is first.kind
    expected = (SbatchKind.REFUSED, False, "AssocMaxSubmitJobLimit")
    assert expected == (second.kind, second.final, second.quota), second.why


@pytest.mark.parametrize(
    ("setting", "options", "reason", "cls"),
    [
        ("maxwall=1", ("-t", "5"), "AssocMaxWallDurationPerJobLimit", ReasonClass.NEVER),
        ("maxjobs=0", ("-t", "1"), "AssocMaxJobsLimit", ReasonClass.QUOTA),
    ],
)
def test_a_limit_in_the_queue_has_its_class(
    limit: Lease, setting: str, options: tuple[str, ...], reason: str, cls: ReasonClass
) -> None:
    """What is over a limit of one job can never start; what is over one of all jobs waits."""
    enforce(limit, setting)
    name = setting.partition("=")[0]
    assert SbatchKind.ACCEPTED is send(limit, f"--job-name={name}", *options).kind
    seen: list[str] = []

    def is_judged() -> bool:
        rows = parse_squeue(limit.testbed.run(*AS_USER, *squeue_argv(name)).stdout.encode())
        seen[:] = [row.reason for row in rows]
        return seen == [reason]

    assert until(is_judged, 30.0), seen
    assert cls is reason_class(seen[0]).cls

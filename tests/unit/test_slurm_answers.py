"""What sbatch said: accepted, refused for now or for good, or nobody knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.core.slurm import SbatchKind, SlurmFacts, classify_sbatch, read_config
from benchd.core.slurm_errors import ERRORS, Complaint

FAILED = "sbatch: error: Batch job submission failed: "
DATA = Path(__file__).parents[1] / "data" / "slurm_errors.txt"
ALL = [line.split("\t") for line in DATA.read_text().splitlines() if not line.startswith("#")]
POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        ("123\n", "123"),
        ("123", "123"),
        ("123;alpha\n", "123"),
        ("Welcome to the cluster\n** maintenance on Monday **\n4711\n", "4711"),
        ("Submitted batch job 99\n", "99"),
        ("Submitted batch job 99 on cluster alpha\n\n", "99"),
    ],
)
@pytest.mark.parametrize("err", ["", "sbatch: error: Socket timed out on send/recv operation\n"])
def test_status_0_and_an_id_is_accepted(out: str, expected: str, err: str) -> None:
    """Exit 0 and an id on the last line is success, whatever else was printed."""
    verdict = classify_sbatch(0, out, err)
    assert (SbatchKind.ACCEPTED, expected) == (verdict.kind, verdict.slurm_id)


@pytest.mark.parametrize("out", ["", "\n", "no id", "123 and more", "123\nlast words\n", "12a"])
def test_status_0_without_an_id_is_ambiguous(out: str) -> None:
    """Success that does not name a job is no knowledge."""
    verdict = classify_sbatch(0, out, "")
    assert (SbatchKind.AMBIGUOUS, None) == (verdict.kind, verdict.slurm_id)


@pytest.mark.parametrize("rc", [None, 124, 125, 129, 130, 137, 143, -9, 256])
@pytest.mark.parametrize("err", ["", FAILED + "Invalid partition name specified\n"])
def test_an_sbatch_that_was_stopped_is_ambiguous(rc: int | None, err: str) -> None:
    """No status, a time-out or a signal: the request may have arrived, whatever stderr says."""
    assert SbatchKind.AMBIGUOUS is classify_sbatch(rc, "", err).kind


def test_a_silent_failure_is_ambiguous() -> None:
    """A status without a word proves nothing."""
    assert SbatchKind.AMBIGUOUS is classify_sbatch(1, "", " \n").kind


def complaint(err: str) -> Complaint:
    """Return what a failed sbatch with this stderr tells about the job."""
    verdict = classify_sbatch(1, "", err)
    if verdict.kind is SbatchKind.AMBIGUOUS:
        return Complaint.AMBIGUOUS
    assert verdict.kind is SbatchKind.REFUSED
    if verdict.quota:
        return Complaint.QUOTA
    return Complaint.PERMANENT if verdict.final else Complaint.RETRY


@pytest.mark.parametrize(("expected", "text"), [(row[0], row[3]) for row in ALL])
def test_every_error_of_slurm_has_its_meaning(expected: str, text: str) -> None:
    """Each text that Slurm has had for a submission since 20.11 is judged as the list says."""
    assert expected == complaint(f"{FAILED}{text}\n")
    assert expected == complaint(f"Welcome!\nsbatch: fatal: x\n{FAILED.lower()}{text.upper()}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Connection refused", Complaint.RETRY),
        ("No route to host", Complaint.RETRY),
        ("Connection reset by peer", Complaint.AMBIGUOUS),
        ("Broken pipe", Complaint.AMBIGUOUS),
        ("Interrupted system call", Complaint.AMBIGUOUS),
        ("Conmgr connection closed by watchdog", Complaint.AMBIGUOUS),
        ("Request timed out in the new scheduler", Complaint.AMBIGUOUS),
        ("Resource temporarily unavailable", Complaint.RETRY),
        ("A text of Slurm 31.05", Complaint.RETRY),
    ],
)
def test_errors_of_the_system_and_of_later_versions(text: str, expected: Complaint) -> None:
    """What libc says for Slurm, and what nobody knows yet, is judged on the safe side."""
    assert expected is complaint(f"{FAILED}{text}\n")


@pytest.mark.parametrize(
    ("limit", "final", "quota"),
    [
        ("QOSMaxSubmitJobPerUserLimit", False, "QOSMaxSubmitJobPerUserLimit"),
        ("AssocGrpSubmitJobsLimit", False, "AssocGrpSubmitJobsLimit"),
        ("QOSMaxWallDurationPerJobLimit", True, ""),
        ("AssocMaxCpuPerJobLimit", True, ""),
        ("Resources", False, "AccountingPolicy"),
        ("SomethingElse", False, "AccountingPolicy"),
    ],
)
def test_a_limit_that_sbatch_names_decides(limit: str, *, final: bool, quota: str) -> None:
    """The one text for all limits is told apart by the limit that sbatch names before it."""
    verdict = classify_sbatch(1, "", f"sbatch: error: {limit}\n{FAILED}{POLICY}\n")
    assert (SbatchKind.REFUSED, final, quota) == (verdict.kind, verdict.final, verdict.quota)
    assert (final or quota == limit) is (limit in verdict.why)


@pytest.mark.parametrize(
    "said",
    [
        "Socket timed out on send/recv operation",
        "Unable to contact slurm controller (send failure)",
        "Unable to contact slurm controller (receive failure)",
        "Unable to contact slurm controller (shutdown failure)",
        "Zero Bytes were transmitted or received",
        "Unexpected message received",
        "Message receive failure",
        "Message send failure",
        "Connection timed out reading",
        "Protocol authentication error",
        "Process is shutting down and closing all communications",
    ],
)
def test_a_complaint_about_the_wire_is_ambiguous(said: str) -> None:
    """Whatever can happen after the request was sent may have left a job in the queue."""
    verdict = classify_sbatch(1, "", f"{FAILED}{said}\n")
    assert SbatchKind.AMBIGUOUS is verdict.kind
    assert said in verdict.why


@pytest.mark.parametrize(
    "said",
    [
        "Unable to contact slurm controller (connect failure)",
        "Slurm backup controller in standby mode",
        "Rate limit exceeded, please retry momentarily",
        "Rate limit exceeded, please retry later",
        "MaxJobCount limit reached",
        "System submissions disabled",
        POLICY,
        "Resource temporarily unavailable",
        "Required partition not available (inactive or drain)",
        "Partition in DOWN state",
        "Requested reservation not usable now",
        "I/O error writing script/environment to file",
    ],
)
def test_a_complaint_that_passes_is_refused_for_now(said: str) -> None:
    """What surely was not accepted, but may be later, is refused and not final."""
    verdict = classify_sbatch(1, "", f"{FAILED}{said}\n")
    assert (SbatchKind.REFUSED, False) == (verdict.kind, verdict.final)
    assert verdict.why == f"Slurm refused the job: {said} ({verdict.fix})"


# Recorded from real sbatch 22.05: status, stderr, and a word of the fix.
RECORDED = [
    (1, (f"sbatch: error: invalid partition specified: nope\n{FAILED}Invalid partition name "
        "specified\n"), "resources.partition"),
    (255, "sbatch: error: Invalid --time specification\n", "resources.time"),
    (1, f"{FAILED}Requested time limit is invalid (missing or exceeds some limit)\n",
     "resources.time"),
    (1, "sbatch: error: Invalid generic resource (gres) specification\n", "resources.gres"),
    (1, ("sbatch: error: Memory specification can not be satisfied\n"
        f"{FAILED}Requested node configuration is not available\n"), "lower resources"),
    (1, f"{FAILED}More processors requested than permitted\n", "lower resources"),
    (1, f"{FAILED}Invalid feature specification\n", "resources.constraint"),
    (1, f"{FAILED}Requested reservation is invalid\n", "resources.reservation"),
    (1, f"{FAILED}Access denied to requested reservation\n", "resources.reservation"),
    (1, f"{FAILED}Invalid node name specified\n", "resources.nodelist"),
    (1, f"{FAILED}Invalid license specification\n", "resources.licenses"),
    (1, f"{FAILED}Invalid account or account/partition combination specified\n",
     "resources.account"),
    (1, f"{FAILED}Invalid qos specification\n", "resources.qos"),
    (1, f"{FAILED}Invalid wckey specification\n", "wckey"),
    (1, f"{FAILED}User's group not permitted to use this partition\n", "resources.partition"),
    (1, f"{FAILED}No partition specified or system default partition\n", "resources.partition"),
    (1, f"{FAILED}Access/permission denied\n", "policy"),
    (255, "sbatch: error: Invalid --signal specification\n", "resources"),
    (255, 'sbatch: error: unrecognized --hint argument "foo", see --hint=help\n', "resources"),
    (255, "sbatch: unrecognized option '--frobnicate'\n", "resources"),
    (1, ("sbatch: error: This does not look like a batch script.  The first\n"
        "sbatch: error: line must start with #! followed by the path to an interpreter.\n"),
     "report it"),
    (1, ("sbatch: error: Batch script contains DOS line breaks (\\r\\n)\n"
        "sbatch: error: instead of expected UNIX line breaks (\\n).\n"), "report it"),
]  # fmt: skip


@pytest.mark.parametrize(("rc", "err", "fix"), RECORDED)
def test_a_complaint_about_the_job_is_final_and_says_the_fix(rc: int, err: str, fix: str) -> None:
    """A script that can never be accepted is refused for good, with the key to change."""
    verdict = classify_sbatch(rc, "", err)
    assert (SbatchKind.REFUSED, True) == (verdict.kind, verdict.final)
    assert fix in verdict.why
    assert "sbatch:" not in verdict.why


@pytest.mark.parametrize(
    ("rc", "err", "fix"),
    [
        (1, ("sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\nsbatch: "
            "error: fetch_config: DNS SRV lookup failed\nsbatch: fatal: Could not establish a "
            "configuration source\n"), "sinfo"),
        (127, "bash: line 1: sbatch: command not found\n", "PATH"),
        (1, ("sbatch: error: cli_filter: projects must name a cost centre\n"
            f"{FAILED}Unspecified error\n"), "ask the site"),
    ],
)  # fmt: skip
def test_a_fault_of_the_site_is_refused_for_now(rc: int, err: str, fix: str) -> None:
    """Without a configuration or a program, or by a site's own rule, nothing was submitted."""
    verdict = classify_sbatch(rc, "", err)
    assert (SbatchKind.REFUSED, False) == (verdict.kind, verdict.final)
    assert fix in verdict.why


def test_words_that_are_not_sbatchs_are_ambiguous() -> None:
    """A failure that sbatch did not explain itself is not taken for an answer."""
    assert SbatchKind.AMBIGUOUS is classify_sbatch(1, "", "Segmentation fault\n").kind


def test_an_ambiguous_complaint_beats_a_definite_one() -> None:
    """When sbatch says both, it may have been accepted."""
    err = f"sbatch: error: Socket timed out on send/recv operation\n{FAILED}Invalid qos\n"
    assert SbatchKind.AMBIGUOUS is classify_sbatch(1, "", err).kind


@pytest.mark.parametrize("row", ERRORS, ids=lambda row: row.pattern)
def test_every_row_has_a_fix(row: object) -> None:
    """Each complaint says what to do, and its expression can be read."""
    assert row in ERRORS
    pattern, complaint, fix = row.pattern, row.complaint, row.fix  # type: ignore[attr-defined] # a row
    assert (True, True) == (complaint in Complaint, len(fix) > 3)
    re.compile(pattern)


@given(st.none() | st.integers(-300, 300), st.text(max_size=80), st.text(max_size=80))
def test_any_answer_gets_a_verdict(rc: int | None, out: str, err: str) -> None:
    """No answer raises, and only an id makes it accepted."""
    verdict = classify_sbatch(rc, out, err)
    assert (verdict.kind is SbatchKind.ACCEPTED) is (verdict.slurm_id is not None)
    assert verdict.kind is SbatchKind.ACCEPTED or verdict.why


# --- scontrol show config -----------------------------------------------------------------------

CONFIG = """Configuration data as of 2026-11-21T14:53:56
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = testbed
JobRequeue              = 1
KillWait                = 2 sec
MaxJobCount             = 50000
MessageTimeout          = 10 sec
MinJobAge               = 300 sec
PreemptMode             = OFF
SLURM_VERSION           = 22.05.8
SlurmctldParameters     = (null)
"""


def test_the_configuration_is_read() -> None:
    """Version, times and limits come from ``scontrol show config``."""
    assert read_config(CONFIG) == SlurmFacts(
        version="22.05.8",
        cluster="testbed",
        message_timeout=10.0,
        min_job_age=300.0,
        kill_wait=2.0,
        accounting=True,
        requeue=True,
        preempt_mode="OFF",
        max_job_count=50000,
        rate_limited=False,
    )


@pytest.mark.parametrize("text", ["", "no such thing", "= = =\nMinJobAge = soon\n"])
def test_what_the_configuration_does_not_say_is_slurms_default(text: str) -> None:
    """An empty or strange answer leaves Slurm's documented defaults."""
    assert SlurmFacts() == read_config(text)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("AccountingStorageType = accounting_storage/none", SlurmFacts(accounting=False)),
        ("AccountingStorageType = (null)", SlurmFacts(accounting=False)),
        ("SlurmctldParameters = enable_configless,rl_enable", SlurmFacts(rate_limited=True)),
        ("JobRequeue = 0", SlurmFacts(requeue=False)),
        ("MinJobAge = 2 sec", SlurmFacts(min_job_age=2.0)),
    ],
)
def test_what_changes_our_ways_is_seen(line: str, expected: SlurmFacts) -> None:
    """No accounting, rate limits and short memory are recognised."""
    assert expected == read_config(line)

"""How the embedded cluster reads and writes Slurm's times, sizes, lists and options."""

from __future__ import annotations

import pytest

from benchd.sim.environment import expand, job_environment
from benchd.sim.nouns import Config, Grant, Job, Request
from benchd.sim.options import Parser, options
from benchd.sim.text import (
    UsageError,
    exit_code,
    megabytes,
    minutes_of,
    moment,
    node_list,
    size,
    span,
    unfold,
)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("5", 5), ("0:30", 1), ("90:00", 90), ("1:30:00", 90), ("2-0", 2880), ("1-1:1:1", 1502)],
)
def test_time_limits_are_whole_minutes(text: str, minutes: int) -> None:
    """Every form of a time limit is rounded up to minutes."""
    assert minutes == minutes_of(text)


@pytest.mark.parametrize(
    ("seconds", "queue", "accounting"),
    [(4, "0:04", "00:00:04"), (3600, "1:00:00", "01:00:00"), (90061, "1-01:01:01", "1-01:01:01")],
)
def test_durations_are_written_in_two_ways(seconds: int, queue: str, accounting: str) -> None:
    """Squeue writes durations short, sacct padded."""
    assert (queue, accounting) == (span(seconds), span(seconds, padded=True))


@pytest.mark.parametrize(
    ("text", "mb", "written"), [("50", 50, "50M"), ("2G", 2048, "2G"), ("1K", 1, "1M")]
)
def test_sizes_are_megabytes(text: str, mb: int, written: str) -> None:
    """Sizes are read as MB and written in the largest exact unit."""
    assert (mb, written) == (megabytes(text), size(megabytes(text)))


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("n1",), "n1"),
        (("n1", "n2", "n4"), "n[1-2,4]"),
        (("a1", "b2"), "a1,b2"),
        (("login",), "login"),
        ((), ""),
    ],
)
def test_node_lists_fold_and_unfold(names: tuple[str, ...], text: str) -> None:
    """A folded node list unfolds to the same names."""
    assert (text, names) == (node_list(names), unfold(text))


def test_times_follow_slurm_time_format() -> None:
    """SLURM_TIME_FORMAT=%s gives seconds; no time is N/A."""
    form = {"SLURM_TIME_FORMAT": "%s"}
    assert ("1000", "N/A") == (moment(1000.9, form), moment(None, form))


@pytest.mark.parametrize(
    ("raw", "text"), [(0, "0:0"), (1792, "7:0"), (9, "0:9"), (4021, "0:53"), (51200, "200:0")]
)
def test_exit_codes_are_status_and_signal(raw: int, text: str) -> None:
    """A wait status is written as rc:signal."""
    assert text == exit_code(raw)


@pytest.mark.parametrize(
    ("argv", "pairs", "operands"),
    [
        (["-ab", "x"], [("all", None), ("box", "x")], []),
        (["-bx", "y"], [("box", "x")], ["y"]),
        (["--bo=1", "--", "-a"], [("box", "1")], ["-a"]),
        (["--opt", "y"], [("opt", None)], ["y"]),
        (["--opt=1"], [("opt", "1")], []),
    ],
)
def test_options_are_read_as_getopt_does(
    argv: list[str], pairs: list[tuple[str, str | None]], operands: list[str]
) -> None:
    """Bundled letters, attached values, abbreviations and ``--`` work."""
    parser = Parser("tool", options("all/a box/b= opt=?"))
    assert (pairs, operands) == parser.parse(argv)


def test_a_wrong_option_is_a_usage_error() -> None:
    """What getopt does not know is refused with the program's exit status."""
    with pytest.raises(UsageError, match="invalid option -- 'z'") as wrong:
        Parser("tool", options("all/a"), status=255).parse(["-z"])
    assert 255 == wrong.value.status


def _job(**wishes: object) -> Job:
    request = Request(name="tok", script=b"", chdir="/w", **wishes)  # type: ignore[arg-type] # passed on
    job = Job(
        id=7, request=request, user="u", uid=1, partition="debug", minutes=1, submit=0, eligible=0
    )
    job.grants = {"n1": Grant(2, 100, 1, 1), "n2": Grant(1, 100, 0)}
    return job


@pytest.mark.parametrize(
    ("pattern", "path"),
    [("%j.out", "/w/7.out"), ("/a/%x-%u-%N", "/a/tok-u-n1"), ("%5j%%", "/w/00007%")],
)
def test_output_names_are_expanded(pattern: str, path: str) -> None:
    """%j and its like are expanded; what is relative is below the job's directory."""
    assert path == expand(pattern, _job())


def test_a_job_knows_where_and_what_it_is() -> None:
    """The environment names job, nodes and GPUs; --export=NONE keeps the submitter's out."""
    job = _job(export_none=True, environment={"SECRET": "x"}, cpus_per_task=2)
    found = job_environment(job, Config(), {"PATH": "/bin", "HOME": "/h"}, gid=1)
    expected = {
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_NNODES": "2",
        "SLURMD_NODENAME": "n1",
        "CUDA_VISIBLE_DEVICES": "1",
        "SLURM_CPUS_PER_TASK": "2",
        "PATH": "/bin",
    }
    assert expected == {name: found.get(name) for name in expected}
    assert "SECRET" not in found
    assert "SLURM_RESTART_COUNT" not in found


def test_a_job_inherits_what_was_exported() -> None:
    """By default the submitter's variables are there, but nothing of the login node's plumbing."""
    job = _job(environment={"A": "1", "PATH": "/shims:/bin", "BENCHD_SIM_LOGIN": "1"})
    job.restarts = 2
    found = job_environment(job, Config(), {"PATH": "/bin"}, gid=1)
    assert ("1", "/bin", "2", None) == (
        found["A"],
        found["PATH"],
        found["SLURM_RESTART_COUNT"],
        found.get("BENCHD_SIM_LOGIN"),
    )

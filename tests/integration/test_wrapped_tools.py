"""What the wrappers of other people's tools do before, around and after them, really run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchd.catalog import CATALOG
from benchd.catalog.clients import wrapped
from benchd.core.spec import JobSpec, Role
from support.payloads import Up, client, service

LLM_TOOLS = ("vllm-bench", "guidellm", "aiperf")


@contextmanager
def llm(home: Path) -> Iterator[Up]:
    """Run an LLM server that lists a model."""
    with service(home, "sim-llm") as up:
        yield up


def test_an_llm_tool_that_cannot_run_says_what_to_do(tmp_path: Path) -> None:
    """It asks the server for its model first, then whether the tool is there and works."""
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'no module named pandas' >&2\nexit 1\n")
    broken.chmod(0o755)
    with llm(tmp_path) as up:
        absent = [client(tmp_path, kind, up, command="no-such-tool") for kind in LLM_TOOLS]
        worn = client(tmp_path, "guidellm", up, command=str(broken))
        other = client(tmp_path, "aiperf", up, parameters={"model": "nobody"})
    gone = client(tmp_path, "vllm-bench", up)
    assert [done.status for done in absent] == [127, 127, 127]
    assert all("no-such-tool is not installed here; use " in done.said for done in absent)
    assert [dict(done.measured.metrics) for done in absent] == [{}, {}, {}]
    assert worn.status == 126
    assert "does not run; it says: no module named pandas" in worn.said
    assert other.status == 69
    assert "the server has no model nobody; it lists: " in other.said
    assert gone.status == 69
    assert "/v1/models does not list models: " in gone.said


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "], ids=["heeds", "ignores"])
def test_whatever_a_tool_has_started_ends_with_its_time(tmp_path: Path, trap: str) -> None:
    """After the limit neither the program nor its children are left, whether they heed TERM."""
    inner = f"{trap}sleep 300 & echo $! >{tmp_path}/child; wait"
    script = f"{wrapped.RUNNING}\nharder='-k 0.2'\nlimited 1 sh -c \"$1\"\n"
    done = subprocess.run(["sh", "-c", script, "sh", inner], check=False, timeout=30)
    child = int((tmp_path / "child").read_text())
    assert (done.returncode, _lives(child)) == (124, False)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # it may be dead and not yet collected by whoever adopted it
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.real("shellcheck")
@pytest.mark.parametrize("kind", [*LLM_TOOLS, "vectordbbench"])
def test_wrappers_are_clean_shell(kind: str) -> None:
    """What an LLM tool is wrapped in is POSIX sh without a complaint from shellcheck."""
    payload = CATALOG.clients[kind].payload(JobSpec(role=Role.CLIENT, name=kind, kind=kind))
    (text,) = payload.files.values()
    command = ("shellcheck", "-s", "sh", "-")
    done = subprocess.run(command, input=text, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")

"""One daemon per state directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchd.edge.lock import Lock
from benchd.errors import UserError


def test_the_second_is_told_who_is_first(tmp_path: Path) -> None:
    """While the lock is held, another try fails at once and names process and directory."""
    path = tmp_path / "state" / "benchd.lock"
    with Lock(path):
        with pytest.raises(UserError, match=f"process {os.getpid()}.*{path.parent}.*stop it"):
            Lock(path).__enter__()
        held = path.read_text()

    assert held == f"{os.getpid()}\n"
    with Lock(path):  # free again
        pass


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    """The kernel frees the lock of a process that was killed, and no child of it keeps it."""
    path = tmp_path / "benchd.lock"
    story = (
        "import subprocess, sys; from pathlib import Path; from benchd.edge.lock import Lock\n"
        f"with Lock(Path({str(path)!r})):\n"
        "    child = subprocess.Popen(['sleep', '60']); print(child.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    daemon = str(Path(__file__).parents[2] / "daemon")
    holder = subprocess.Popen(
        [sys.executable, "-c", story],
        env={**os.environ, "PYTHONPATH": daemon},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            with pytest.raises(UserError):
                Lock(path).__enter__()
            holder.kill()
            holder.wait(timeout=30)
            with Lock(path):
                pass
        finally:
            os.kill(child, 9)


def test_a_place_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    """A state directory that is a file is named, with what to do."""
    (tmp_path / "state").write_text("in the way")

    with pytest.raises(UserError, match=r"state directory .*state cannot be used.*state_dir"):
        Lock(tmp_path / "state" / "benchd.lock").__enter__()

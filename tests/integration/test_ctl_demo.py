"""``benchd demo``: its own processes, its own directory, and an honest exit status."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchd.cli import daemon
from support.terminal import Terminal

QUICK = """
client:
  name: quick
  kind: generic
  command: /bin/true
  resources: {time: "00:01:00"}
"""


@pytest.mark.parametrize(
    ("recipe", "status", "said"),
    [
        (QUICK, 0, "outcome  PASSED"),
        (QUICK.replace("/bin/true", "/bin/false"), 1, "outcome  FAILED"),
        ("serivce: {}\n", 1, "recipe.yaml:1:1: serivce: unknown key"),
    ],
)
def test_the_demo_is_honest(
    *,
    recipe: str,
    status: int,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It passes only if the run passed, and says why otherwise."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # its processes are our benchd
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe)
    got = daemon.main(["demo", "--recipe", str(file), "--dir", str(tmp_path / "d")])
    out, err = capsys.readouterr()
    reports = list(tmp_path.glob("d/state/runs/*/report.html"))
    assert (got, said in out + err, len(reports)) == (status, True, "serivce" not in recipe)


def test_an_interrupted_demo_says_where_its_files_are(tmp_path: Path) -> None:
    """Ctrl-C ends everything that the demo started, and names the directory."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(QUICK.replace("/bin/true", "/bin/sleep 60"))
    place = tmp_path / "d"
    argv = ["-m", "benchd.cli.daemon", "demo", "--recipe", str(recipe), "--dir", str(place)]
    terminal = Terminal(100).start(*argv)
    terminal.wait_for("RUNNING", 60.0)
    terminal.interrupt()
    assert (130, True) == (terminal.finish(), f"all files are in {place}" in terminal.text())


def test_a_directory_in_use_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demo never writes into somebody's files."""
    (tmp_path / "mine").write_text("precious")
    got = daemon.main(["demo", "--dir", str(tmp_path)])
    assert (got, "is not empty" in capsys.readouterr().err, len(list(tmp_path.iterdir()))) == (
        2,
        True,
        1,
    )

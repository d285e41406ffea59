"""What a program of the user's is told of the recipe's `duration`."""

from __future__ import annotations

from pathlib import Path

from support.payloads import client


def test_a_command_learns_its_duration_in_every_way(tmp_path: Path) -> None:
    """It stands in the environment, and may stand in command and arguments."""
    line = 'printf "%s " "$BENCHD_DURATION" "$@"'
    command, args = "bash -c", (line, "${BENCHD_DURATION}s", "--time=$BENCHD_DURATION")
    done = client(tmp_path, "generic", None, command=command, args=args, duration=7)
    assert (0, "7 --time=7 ") == (done.status, done.said)

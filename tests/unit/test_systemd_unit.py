"""The systemd units: valid, hardened, and in agreement with what the daemon does."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from support.daemon import REPO

UNITS = REPO / "systemd"
SYSTEM, USER = UNITS / "benchd.service", UNITS / "benchd-user.service"
# Exposure in tenths, as systemd-analyze counts it: 0 is a locked box, 96 no protection at all.
# A user's manager may not hide file systems or drop capabilities, which is where most points are.
EXPOSURE = {SYSTEM: 15, USER: 70}


def analyze(unit: Path, home: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze on one unit, for the manager that the unit is for."""
    scope = ["--user"] if unit.name.startswith(USER.stem) else ["--system"]
    return subprocess.run(
        ["systemd-analyze", *scope, *argv, str(unit)],
        env=os.environ | {"XDG_RUNTIME_DIR": str(home), "SYSTEMD_COLORS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )


def settings(unit: Path) -> dict[str, str]:
    """Return the unit's assignments; of repeated ones the last."""
    return dict(re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE))


@pytest.mark.real("systemd-analyze")
@pytest.mark.parametrize("unit", [SYSTEM, USER], ids=lambda unit: unit.name)
def test_systemd_has_nothing_to_say_about_a_unit(unit: Path, tmp_path: Path) -> None:
    """Once its program exists, systemd-analyze verify prints nothing at all."""
    program = tmp_path / "benchd"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"(?m)^(ExecStart=)\S+", rf"\g<1>{program}", unit.read_text()))

    done = analyze(copy, tmp_path, "verify")

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.real("systemd-analyze")
def test_a_mistake_in_a_unit_would_be_found(tmp_path: Path) -> None:
    """The check above sees an unknown setting, so its silence means something."""
    wrong = tmp_path / SYSTEM.name
    wrong.write_text(SYSTEM.read_text().replace("[Service]", "[Service]\nProtectEverything=yes"))

    assert "ProtectEverything" in analyze(wrong, tmp_path, "verify").stderr


@pytest.mark.real("systemd-analyze")
@pytest.mark.parametrize("unit", [SYSTEM, USER], ids=lambda unit: unit.name)
def test_a_unit_is_hardened(unit: Path, tmp_path: Path) -> None:
    """The exposure level that systemd-analyze computes stays below its limit."""
    limit = f"--threshold={EXPOSURE[unit]}"

    done = analyze(unit, tmp_path, "security", "--offline=true", limit)

    assert 0 == done.returncode, done.stdout[-200:] + done.stderr


@pytest.mark.parametrize("unit", [SYSTEM, USER], ids=lambda unit: unit.name)
def test_a_unit_restarts_a_crash_and_not_a_mistake(unit: Path) -> None:
    """A crash or a hanging loop is restarted; a wrong command line or configuration is not."""
    told = settings(unit)
    keys = ("Type", "WatchdogSec", "Restart", "RestartPreventExitStatus")

    assert ["notify", "60", "on-failure", "2 78"] == [told[key] for key in keys]


@pytest.mark.parametrize("unit", [SYSTEM, USER], ids=lambda unit: unit.name)
def test_a_unit_lets_benchd_tell_users_apart(unit: Path) -> None:
    """Rights follow from uids, and PrivateUsers= would make all others look like one."""
    assert "no" == settings(unit).get("PrivateUsers", "no")

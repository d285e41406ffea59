"""Where things lie on this machine: the state directory, the database in it, the socket."""

from __future__ import annotations

import os
from pathlib import Path

from benchd.config import Settings


def state_dir_of(settings: Settings) -> Path:
    """Return the state directory: configured, given by systemd, or below the user's own."""
    if settings.state_dir:
        return Path(os.path.expandvars(settings.state_dir)).expanduser()
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "benchd"


def database_in(state_dir: Path) -> Path:
    """Return the database's file."""
    return state_dir / "benchd.sqlite3"


def scripts_in(settings: Settings) -> Path | None:
    """Return the directory of the scripts that recipes name; None where nothing says it."""
    if settings.scripts_dir is None:
        return None
    return Path(os.path.expandvars(settings.scripts_dir)).expanduser()


def socket_of(settings: Settings) -> Path:
    """Return the control socket: configured, given by systemd, or below the user's own."""
    if settings.socket:
        return Path(os.path.expandvars(settings.socket)).expanduser()
    if given := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(given.split(":")[0]) / "control.sock"
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "benchd" / "control.sock"
    return state_dir_of(settings) / "control.sock"

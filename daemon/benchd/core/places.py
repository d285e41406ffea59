"""Where benchd keeps its socket and its state when nobody says otherwise. Pure: environment in."""

from __future__ import annotations

from collections.abc import Mapping

SYSTEM_SOCKET = "/run/benchd/control.sock"


def state_dir(environ: Mapping[str, str], home: str) -> str:
    """Return the default state directory: what systemd gave, else the XDG one."""
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return given
    return f"{environ.get('XDG_STATE_HOME') or home + '/.local/state'}/benchd"


def sockets(environ: Mapping[str, str], home: str) -> tuple[str, ...]:
    """Return where the control socket of a daemon may be, the likeliest place first."""
    named = environ.get("BENCHD_SOCKET")
    if named:
        return (named,)
    places = []
    if environ.get("RUNTIME_DIRECTORY"):
        places.append(f"{environ['RUNTIME_DIRECTORY'].split(':')[0]}/control.sock")
    if environ.get("XDG_RUNTIME_DIR"):
        places.append(f"{environ['XDG_RUNTIME_DIR']}/benchd/control.sock")
    places.append(f"{state_dir({**environ, 'STATE_DIRECTORY': ''}, home)}/control.sock")
    places.append(SYSTEM_SOCKET)
    return tuple(dict.fromkeys(places))

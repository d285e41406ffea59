"""What the load generators of databases have in common: who they are, and how they are ended."""

from __future__ import annotations

from benchd.catalog.kinds import Parameter

# POSIX sh. A program runs in the background, because a shell sees a signal only between commands;
# it has a hard limit, because it may wait for ever for a server that has stopped answering.
RUNNING = r"""child=''
stopped=''
say() { printf 'benchd: %s\n' "$*" >&2; }
# shellcheck disable=SC2317,SC2329 # the traps call it
stop() {
  stopped=yes
  if [ -n "$child" ]; then kill -TERM "$child" 2>/dev/null; fi
}
trap stop TERM INT
limited() { # SECONDS COMMAND ...: status 124 when its time was over
  [ -z "$stopped" ] || return 143
  timeout "$@" &
  child=$!
  if [ -n "$stopped" ]; then kill -TERM "$child" 2>/dev/null; fi
  wait "$child"
  status=$?
  if [ -n "$stopped" ]; then wait "$child"; status=143; fi
  child=''
  return "$status"
}
"""


def limit(seconds: int = 3600) -> Parameter:
    """Return the parameter that says when a program is stopped."""
    return Parameter(
        name="timeout",
        type="int",
        default=seconds,
        minimum=1,
        maximum=604_800,
        unit="s",
        doc="a phase (filling, measuring) is stopped after this time, and nothing is valid",
    )


def user(usual: str, others: str) -> Parameter:
    """Return the parameter that says who the client is."""
    return Parameter(
        name="user",
        type="str",
        default=usual,
        pattern=r"[A-Za-z_][A-Za-z0-9_.-]{0,79}",
        doc=f"who it is; {usual} is made by the service, may use its own database and nothing "
        f"else, and has a password of its own; {others}",
    )


def database(usual: str) -> Parameter:
    """Return the parameter that says which database is used."""
    return Parameter(
        name="database",
        type="str",
        default=usual,
        pattern=r"[A-Za-z_][A-Za-z0-9_]{0,62}",
        doc="database in which its tables are made, and dropped in the end",
    )

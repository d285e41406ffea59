"""What all tools of others have in common: how they are found, ended and written about."""

from __future__ import annotations

from collections.abc import Mapping

from benchd.catalog.kinds import Parameter
from benchd.core.payload import Sh

# POSIX sh. A program runs in the background, because a shell sees a signal only between commands;
# it has a hard limit, because it may wait for ever for a server that has stopped answering. GNU's
# timeout makes a process group of it and ends that, so nothing which the program started stays;
# what does not heed TERM is killed 10 s later, where timeout can do that.
RUNNING = r"""child=''
stopped=''
harder=''
if timeout -k 1 5 true 2>/dev/null; then harder='-k 10'; fi
say() { printf 'benchd: %s\n' "$*" >&2; }
# shellcheck disable=SC2317,SC2329 # the traps call it
stop() {
  stopped=yes
  if [ -n "$child" ]; then kill -TERM "$child" 2>/dev/null; fi
}
trap stop TERM INT
limited() { # SECONDS COMMAND ...: status 124 when its time was over
  [ -z "$stopped" ] || return 143
  began=$(date +%s) most=$1 status=143
  # shellcheck disable=SC2086 # none, or two words
  timeout $harder "$@" &
  child=$!
  if [ -z "$stopped" ]; then
    wait "$child"
    status=$?
  fi
  if [ -n "$stopped" ]; then
    # What has only just been started does not hear it: it is told again.
    (sleep 1 && kill -TERM "$child") >/dev/null 2>&1 </dev/null &
    again=$!
    wait "$child"
    kill "$again" 2>/dev/null
    status=143
  elif [ "$status" -gt 128 ] && [ "$(($(date +%s) - began))" -ge "$most" ]; then
    status=124 # KILL was needed, or a timeout that says how the program ended
  fi
  child=''
  return "$status"
}
# Really run: what is there may still not work, for want of a module or on another processor.
tool() { # ADVICE COMMAND ...: is it there, where, and what does it say of itself
  advice=$1
  shift
  if ! command -v "$1" >/dev/null 2>&1; then
    say "$1 is not installed here; $advice"
    exit 127
  fi
  for ask in --version --help; do
    heard=$(timeout 300 "$@" "$ask" 2>&1 </dev/null) && break
  done || {
    say "$* is here and does not run; it says: $(printf '%s\n' "$heard" | grep . | tail -n 1)"
    say "$advice"
    exit 126
  }
  { command -v "$1"; printf '%s\n' "${BENCHD_TOOL_IMAGE:-}" "$heard"; } | head -n 9 >"$dir/tool.txt"
}
"""

# Tells a wrapper in which image it runs: on the host of a job with an image there is none.
ENVIRONMENT: Mapping[str, str | Sh] = {"BENCHD_TOOL_IMAGE": Sh('"${benchd_image:-}"')}


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

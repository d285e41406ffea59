"""What the load generators of Redis have in common: asking first, counters, and the password."""

from __future__ import annotations

from benchd.catalog.clients import wrapped
from benchd.catalog.kinds import Parameter
from benchd.catalog.services.redis import REDIS_USER
from benchd.core.secrets import TICKET

# What is said of a rate: neither tool keeps to the schedule when the server stalls.
NO_RATE = (
    "{tool} cannot tell how long a request waited that was due while the server stalled, so its "
    "tail would be too good: use kind: redis-load, which counts from the schedule"
)


def limit() -> Parameter:
    """Return the parameter that says when the program is stopped."""
    return Parameter(
        name="timeout",
        type="int",
        default=600,
        minimum=1,
        maximum=604_800,
        unit="s",
        doc="it is stopped after this time, and the measurement is not valid",
    )


# POSIX sh: it also runs in images that have no bash (redis:7-alpine). The target is asked first,
# because redis-benchmark 7.0 spins for ever on a connection that is refused. `$host`, `$port`,
# `$dir` are known; `$ticket` is empty unless there is a user of ours.
BEFORE = (
    wrapped.RUNNING
    + r"""user=__USER__ ticket=${__TICKET__:-}
if [ -n "${REDIS_PASSWORD:-}" ]; then export REDISCLI_AUTH="$REDIS_PASSWORD"; fi

# With redis-cli where it is, else through bash, always within five seconds.
ping_target() {
  if command -v redis-cli >/dev/null 2>&1; then
    timeout 5 redis-cli -h "$host" -p "$port" PING 2>&1
  else
    # shellcheck disable=SC2016
    LC_ALL=C timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/$2" || exit
      if [ -n "${REDISCLI_AUTH:-}" ]; then
        printf "*2\r\n\$4\r\nAUTH\r\n\$%d\r\n%s\r\n" "${#REDISCLI_AUTH}" "$REDISCLI_AUTH" >&3
        IFS= read -r line <&3
        case $line in +OK*) ;; *) printf "%s\n" "${line%?}"; exit ;; esac
      fi
      printf "PING\r\n" >&3 && IFS= read -r line <&3 && printf "%s\n" "${line%?}"
    ' ping "$host" "$port" 2>&1
  fi
}
note_info() { # FILE
  command -v redis-cli >/dev/null 2>&1 || return 0
  timeout 5 redis-cli -h "$host" -p "$port" INFO all >"$dir/$1" 2>/dev/null
}

answer=$(ping_target)
case $answer in
  PONG | +PONG) ;;
  *NOAUTH*)
    say "$host:$port wants a password: give the service secrets: {REDIS_PASSWORD: {generate: 24}}"
    exit 69 ;;
  *WRONGPASS*) say "$host:$port does not take the password in REDIS_PASSWORD"; exit 69 ;;
  *) say "no PONG from $host:$port within 5 s: ${answer:-no answer}"; exit 69 ;;
esac
if [ -n "${REDISCLI_AUTH:-}" ] && [ -z "$ticket" ]; then
  say "this tool can be told a password only where every user of the node reads it, so it"
  say "measures a Redis with a password only if that is a service of kind redis of benchd's own"
  exit 69
fi
""".replace("__USER__", REDIS_USER).replace("__TICKET__", TICKET)
)

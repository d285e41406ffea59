"""What all tools of others have in common: how they are found, ended and written about."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from benchd.catalog.kinds import Complaint, Parameter, word
from benchd.core.payload import Sh
from benchd.core.spec import JobSpec, Part

# POSIX sh. A program runs in the background, because a shell sees a signal only between commands;
# it has a hard limit, because it may wait for ever for a server that has stopped answering. It is a
# process group of its own, by a session where `timeout` makes none (busybox), and nothing of that
# group outlives it: neither what ignores TERM, which is killed 10 s later, nor what a program that
# has ended left behind.
RUNNING = r"""child=''
stopped=''
harder=''
apart=''
if timeout -k 1 5 true 2>/dev/null; then harder='-k 10'; fi
if command -v setsid >/dev/null 2>&1; then apart=setsid; fi
say() { printf 'benchd: %s\n' "$*" >&2; }
# shellcheck disable=SC2317,SC2329 # the traps call it
stop() {
  stopped=yes
  if [ -n "$child" ]; then kill -TERM "$child" 2>/dev/null; fi
}
trap stop TERM INT
insist() { # what has only just been started does not hear the first TERM, and some hear none
  sleep 1 && kill -TERM "$child" || return
  for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 1 && kill -0 "$child" || return; done
  kill -KILL "-$child"
}
limited() { # SECONDS COMMAND ...: status 124 when its time was over
  [ -z "$stopped" ] || return 143
  began=$(date +%s) most=$1 status=143
  # shellcheck disable=SC2086 # none, or two words
  $apart timeout $harder "$@" &
  child=$!
  if [ -z "$stopped" ]; then
    wait "$child"
    status=$?
  fi
  if [ -n "$stopped" ]; then
    insist >/dev/null 2>&1 </dev/null &
    again=$!
    wait "$child"
    kill "$again" 2>/dev/null
    status=143
  elif [ "$status" -gt 128 ] && [ "$(($(date +%s) - began))" -ge "$most" ]; then
    status=124 # KILL was needed, or a timeout that says how the program ended
  fi
  kill -KILL "-$child" 2>/dev/null
  child=''
  return "$status"
}
# Really run: what is there may still not work, for want of a module or on another processor.
answers() { # COMMAND ...: 127 when it is not here, 126 when it does not run
  command -v "$1" >/dev/null 2>&1 || return 127
  for ask in --version --help; do
    limited 300 "$@" "$ask" >"$dir/heard.txt" 2>&1 </dev/null
    answered=$?
    heard=$(cat "$dir/heard.txt")
    rm -f "$dir/heard.txt"
    if [ -n "$stopped" ]; then exit 143; fi
    [ "$answered" -eq 0 ] || continue
    where=$(command -v "$1")
    shift
    printf '%s\n' "$where${1:+ $*}" "${BENCHD_TOOL_IMAGE:-}" "$heard" | head -n 9 >"$dir/tool.txt"
    return 0
  done
  return 126
}
tool() { # ADVICE COMMAND ...: is it there, where, and what does it say of itself
  advice=$1
  shift
  answers "$@"
  case $? in
    0) return ;;
    127) say "$1 is not installed here; $advice"; exit 127 ;;
  esac
  say "$* is here and does not run; it says: $(printf '%s\n' "$heard" | grep . | tail -n 1)"
  say "$advice"
  exit 126
}
choose() { # PROGRAM ADVICE 'COMMAND WORD ...' ...: $chosen $words is what runs: PROGRAM, or the
  # first of ours that works
  chosen=$1 advice=$2 words=''
  shift 2
  if [ "$chosen" != auto ]; then
    tool "$advice" "$chosen"
    return
  fi
  for found in "$@"; do
    chosen=${found%% *} words=${found#"$chosen"}
    # shellcheck disable=SC2086 # words of ours
    if answers "$chosen" $words; then return; fi
  done
  tool "$advice" "$1"
}
"""

# Tells a wrapper in which image it runs: on the host of a job with an image there is none.
ENVIRONMENT: Mapping[str, str | Sh] = {"BENCHD_TOOL_IMAGE": Sh('"${benchd_image:-}"')}
AUTO = "auto"  # for the program: the first of our own names for it that works


def program(spec: JobSpec) -> str | Sh:
    """Return the program that the recipe names, or that the wrapper is to choose."""
    return word(shlex.split(spec.command)[0]) if spec.command else AUTO


def needs(spec: JobSpec, *names: str) -> tuple[str | Sh, ...]:
    """Return the programs any of which will do: by them image or host is chosen."""
    return names if program(spec) == AUTO else (program(spec),)


def _nothing_more(_part: Part) -> Iterable[Complaint]:
    return ()


def checked(
    more: Callable[[Part], Iterable[Complaint]] = _nothing_more,
) -> Callable[[Part], Sequence[Complaint]]:
    """Return the check of a kind: what it asks itself, and that its command is one program."""

    def check(part: Part) -> Sequence[Complaint]:
        return (*_command(part), *more(part))

    return check


def _command(part: Part) -> Iterator[Complaint]:
    try:
        words = shlex.split(part.command or "")
    except ValueError:  # said by every kind
        return
    if len(words) > 1:
        what = "names the program alone, which is run in several ways: write its options under args"
        yield ("command",), f"{part.command!r} is more than one word; it {what}"


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

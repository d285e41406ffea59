"""What the daemon says to Slurm's commands and to services, from the login node."""

from __future__ import annotations

import re
from functools import lru_cache

from simulation.bash import BOOK, WORD, Bash, Found, unquote
from simulation.process import Exit, then

_WORD = re.compile(WORD)
_PROGRAMS = "squeue|sacct|scancel|scontrol|sinfo|sdiag|sbatch"


@lru_cache(maxsize=256)
def words(text: str) -> tuple[str, ...]:
    """Return the words of a command line that ``shlex.join`` made."""
    return tuple(unquote(word) for word in _WORD.findall(text))


@BOOK.pattern(
    rf"(?:env (?P<settings>(?:-u\w+ |\w+={WORD} )*))?(?P<name>{_PROGRAMS})(?P<argv>(?: {WORD})*)$"
)
def program(sh: Bash, m: Found) -> float:
    """Run one of Slurm's commands."""
    settings = [word for word in words(m["settings"] or "") if "=" in word]
    environment = dict(word.split("=", 1) for word in settings)
    steps = sh.programs.steps(m["name"], words(m["argv"]), environment, sh.cwd)
    then(sh, *steps, (_print_answer, None))
    return 0.0


def _print_answer(sh: Bash, _: None) -> float:
    sh.err += sh.answer.err
    sh.write(sh.answer.out)
    sh.last = sh.answer.status
    return 0.0


@BOOK.pattern(
    rf"s=0; for n in (?P<names>{WORD}(?: {WORD})*); do scancel "
    r'(?:--me|--user="\$\((?P<id>id -u)\)") --name="\$n" \|\| s=\$\?; done; exit \$s'
)
def cancel_names(sh: Bash, m: Found) -> float:
    """Cancel by name, one after the other."""
    sh.variables["s"] = "0"
    who = f"--user={sh.uid}" if m["id"] else "--me"
    for name in reversed(words(m["names"])):
        steps = sh.programs.steps("scancel", (who, f"--name={name}"), {}, sh.cwd)
        then(sh, *steps, (_print_answer, None), (_note_status, None))
    sh.stack.insert(0, (_exit_with_s, None))
    return 0.0


def _note_status(sh: Bash, _: None) -> float:
    if sh.last:
        sh.variables["s"] = str(sh.last)
    return 0.0


def _exit_with_s(sh: Bash, _: None) -> None:
    raise Exit(int(sh.variables["s"]))


# --- services -------------------------------------------------------------------------------------


@BOOK.pattern(r"true$")
def true(sh: Bash, m: Found) -> None:
    """Do nothing, well."""
    sh.last = 0


@BOOK.pattern(
    r"timeout -k 1 [\d.]+ bash --norc -c 'exec 3<>\"\$1\" \|\| exit (?P<refused>\d+); cat >&3; "
    r"(?P<read>:|IFS= read -r -t \"\$2\" l <&3; printf \"%s\\n\" \"\$l\"|"
    r"dd bs=\d+ count=1 <&3 2>/dev/null|"
    r"LC_ALL=C; IFS= read -r -d \"\" -n \d+ -t [\d.]+ l <&3; printf %s \"\$l\")' - "
    r"/dev/tcp/(?P<host>[\w.:-]+)/(?P<port>\d+) [\d.]+$"
)
def look_from_there(sh: Bash, m: Found) -> None:
    """Ask a service from the login node."""
    answer = sh.programs.ask_service(m["host"], int(m["port"]), sh.stdin)
    if answer.status:
        why, where = "Connection refused", f"/dev/tcp/{m['host']}/{m['port']}"
        sh.err += f"-: connect: {why}\n-: line 1: {where}: {why}\n".encode()
        raise Exit(int(m["refused"]))
    if m["read"].startswith(("dd", "LC_ALL")):
        sh.write(answer.out)
    elif m["read"] != ":":
        sh.write(answer.out.partition(b"\n")[0] + b"\n")
    sh.last = 0

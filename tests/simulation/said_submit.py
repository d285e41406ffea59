"""What the daemon says to submit a job, or to seal one that shall not run: phrase by phrase."""

from __future__ import annotations

import re
import shlex

from simulation.bash import BOOK, WORD, Bash, Found, complaint, unquote
from simulation.process import Exit, then

# say, put and link of `edge/pieces.py`; here they are methods of Bash.
_FUNCTIONS = (
    'say() { printf \'%s %s %s\\n%s\\n\' "$1" "${#2}" "${3:-0}" "$2"; }; '
    'put() { [ -f "$2" ] || return 0; v=$(head -c 65536 "$2"; echo x); v="${v%x}"; '
    'say "$1" "$v" "$(stat -c %Y "$2")"; }; '
    'link() { v=$(readlink "$2") || return 0; say "$1" "$v"; }; '
)

BOOK.nothing("umask 077; ")
BOOK.nothing(re.escape(_FUNCTIONS))
BOOK.nothing(re.escape('stop() { say stop "$1"; say said "${2:-}"; exit 0; }; '))
BOOK.nothing(
    re.escape(
        'show() { put rc "$T/rc"; put id "$T/id"; put out "$T/out"; put err "$T/err"; '
        'link claim "$J/claim"; touch -c "$J" 2>/dev/null && say now "" "$(stat -c %Y "$J")"; '
        '[ -d "$T" ] && say made "" "$(stat -c %Y "$T")"; exit 0; }; '
    )
)


@BOOK.literal("trap '' PIPE; ")
def ignore_sigpipe(sh: Bash, m: Found) -> float:
    """Go on although nobody listens any more."""
    sh.ignores_sigpipe = True
    return 0.0


def stop(sh: Bash, why: str, said: bytes = b"") -> None:
    """Say why it goes no further, and end."""
    sh.say("stop", why.encode())
    sh.say("said", said.rstrip(b"\n"))
    raise Exit(0)


def show(sh: Bash) -> None:
    """Show what the try directory says, and end."""
    steps = [(_put, name) for name in ("rc", "id", "out", "err")]
    then(sh, *steps, (_link_claim, None), (_now, None), (_made, None))


def _put(sh: Bash, name: str) -> None:
    sh.put(name, f"{sh.paths['T']}/{name}")


def _link_claim(sh: Bash, _: None) -> None:
    sh.link("claim", f"{sh.paths['J']}/claim")


def _now(sh: Bash, _: None) -> None:
    sh.disk.touch(sh.paths["J"])
    sh.say("now", b"", sh.disk.mtime(sh.paths["J"], cached=True))


def _made(sh: Bash, _: None) -> None:
    attempt = sh.paths["T"]
    if sh.disk.is_dir(attempt, cached=True):
        sh.say("made", b"", sh.disk.mtime(attempt, cached=True))
    raise Exit(0)


@BOOK.pattern(
    rf'W=(?P<W>{WORD}); R=(?P<R>{WORD}); J="\$R/jobs/"(?P<token>{WORD}); T="\$J/try-(?P<k>\d+)"; '
)
def names(sh: Bash, m: Found) -> float:
    """Know where things are."""
    run_dir, token = unquote(m["R"]), unquote(m["token"])
    job = f"{run_dir}/jobs/{token}"
    sh.paths = {"W": unquote(m["W"]), "R": run_dir, "J": job, "T": f"{job}/try-{m['k']}"}
    return 0.0


# --- is everything here? --------------------------------------------------------------------------


@BOOK.pattern(r"d=\$\(head -c (?P<n>\d+); echo x\); d=\$\{d%x\}; ")
def read_input(sh: Bash, m: Found) -> None:
    """Take what came on standard input."""
    sh.data = sh.stdin[: int(m["n"])].replace(b"\0", b"")


@BOOK.pattern(r'\[ "\$\{#d\}" -eq (?P<n>\d+) \] \|\| stop short "\$\{#d\}"; ')
def is_whole(sh: Bash, m: Found) -> float:
    """Go on only when all of it came."""
    if len(sh.data) != int(m["n"]):
        stop(sh, "short", b"%d" % len(sh.data))
    return 0.0


@BOOK.pattern(r'\[ -d "\$(?P<name>[WR])" \] \|\| stop (?P<why>workdir|rundir); ')
def is_there(sh: Bash, m: Found) -> None:
    """Go on only when a directory is there."""
    if not sh.disk.is_dir(sh.paths[m["name"]], cached=True):
        stop(sh, m["why"])


@BOOK.pattern(
    r'e=\$\(cat "\$W/epoch-(?P<who>[\w-]+)" 2>&1\); '
    r'\[ "\$e" = (?P<n>\d+) \] \|\| stop epoch "\$e"; '
)
def is_ours(sh: Bash, m: Found) -> None:
    """Go on only when the epoch is the one we know."""
    path = f"{sh.paths['W']}/epoch-{m['who']}"
    try:
        said = sh.disk.read(path, cached=True).replace(b"\0", b"").rstrip(b"\n")
    except OSError as error:
        said = complaint("cat", path, error)
    if said != m["n"].encode():
        stop(sh, "epoch", said)


# --- whose try is it? -----------------------------------------------------------------------------


@BOOK.pattern(r'm=\$\(mkdir -p "\$(?P<name>[RJ])" 2>&1\) \|\| stop mkdir "\$m"; ')
def make_dirs(sh: Bash, m: Found) -> None:
    """Make a directory, if it is not there."""
    path = sh.paths[m["name"]]
    try:
        sh.disk.make_dirs(path)
    except OSError as error:
        where = error.filename or path
        stop(sh, "mkdir", complaint("mkdir", f"cannot create directory '{where}'", error))


@BOOK.literal(
    'if m=$(mkdir "$T" 2>&1); then say won 1; else [ -d "$T" ] || stop mkdir "$m"; show; fi; '
)
def win(sh: Bash, m: Found) -> None:
    """Make the try directory: who makes it calls sbatch."""
    path = sh.paths["T"]
    try:
        sh.disk.mkdir(path)
    except OSError as error:
        then(sh, (_lost, complaint("mkdir", f"cannot create directory '{path}'", error)))
    else:
        then(sh, (_won, None))


def _won(sh: Bash, _: None) -> None:
    sh.say("won", b"1")


def _lost(sh: Bash, said: bytes) -> float:
    if not sh.disk.is_dir(sh.paths["T"], cached=True):
        stop(sh, "mkdir", said)
    show(sh)
    return 0.0


@BOOK.literal('c=$(readlink "$J/claim") && { [ "$c" = sealed ] && stop sealed; show; }; ')
def is_free(sh: Bash, m: Found) -> None:
    """Go on only when nobody has the claim."""
    claim = sh.disk.readlink(f"{sh.paths['J']}/claim", cached=True)
    if claim == "sealed":
        stop(sh, "sealed")
    if claim is not None:
        show(sh)


# --- the files of the try -------------------------------------------------------------------------

_ONE = r'printf %s "\$\{d:(\d+):(\d+)\}" >"\$([RT])/([\w.-]+)"'
_EACH = re.compile(_ONE)


@BOOK.pattern(
    rf"m=\$\(\{{ (?P<files>{_ONE}(?: && {_ONE})*); \}} 2>&1\) \|\| "
    r'\{ rm -rf "\$T"; stop write "\$m"; \}; '
)
def write_files(sh: Bash, m: Found) -> float:
    """Cut what came into files; undo the try when one cannot be written."""
    for start, length, where, name in reversed(_EACH.findall(m["files"])):
        first = int(start)
        data = sh.data[first : first + int(length)]
        path = f"{sh.paths[where]}/{name}"
        then(sh, (_create, path), (_fill, (path, data)))
    return 0.0


def _create(sh: Bash, path: str) -> None:
    try:
        sh.disk.write(path, b"")
    except OSError as error:
        _undo(sh, complaint("bash: line 1", path, error))


def _fill(sh: Bash, given: tuple[str, bytes]) -> None:
    try:
        sh.disk.write(*given)
    except OSError as error:
        _undo(sh, complaint("bash: line 1", "printf: write error", error))


def _undo(sh: Bash, said: bytes) -> None:
    sh.stack.clear()
    then(sh, (_remove_try, None), (_stop_write, said))


def _remove_try(sh: Bash, _: None) -> None:
    sh.disk.remove(sh.paths["T"])


def _stop_write(sh: Bash, said: bytes) -> None:
    stop(sh, "write", said)


# --- sbatch ---------------------------------------------------------------------------------------


@BOOK.pattern(
    r"unset (?P<unset>[A-Z_ ]+); timeout -k 5 (?P<limit>\d+) "
    rf"sbatch --parsable --job-name=(?P<token>{WORD}) "
    r'--output="\$J/%j\.out" --error="\$J/%j\.err" --open-mode=append --chdir="\$J" --export=NONE '
    rf"(?P<nodes>(?:--(?:nodelist|exclude)={WORD} )*)"
    r'"\$T/script\.sh" "\$J" (?P<k>\d+) </dev/null >"\$T/out" 2>"\$T/err"; rc=\$\?; '
)
def sbatch(sh: Bash, m: Found) -> None:
    """Call sbatch, for so many seconds; its words go to files."""
    job, attempt = sh.paths["J"], sh.paths["T"]
    try:
        for name in ("out", "err"):
            sh.disk.write(f"{attempt}/{name}", b"")
    except OSError as error:
        sh.err += complaint("bash: line 1", f"{attempt}/{name}", error) + b"\n"
        sh.variables["rc"] = "1"
        return
    argv = (
        *("--parsable", f"--job-name={unquote(m['token'])}", f"--output={job}/%j.out"),
        *(f"--error={job}/%j.err", "--open-mode=append", f"--chdir={job}", "--export=NONE"),
        *shlex.split(m["nodes"]),
        *(f"{attempt}/script.sh", job, m["k"]),
    )
    sh.deadline, sh.timed_out = sh.now() + float(m["limit"]), False
    then(sh, *sh.programs.steps("sbatch", argv, {}, sh.cwd), (_sbatch_ended, None))


def _sbatch_ended(sh: Bash, _: None) -> float:
    sh.deadline = None
    for name, data in (("out", sh.answer.out), ("err", sh.answer.err)):
        if data:
            try:
                sh.disk.write(f"{sh.paths['T']}/{name}", data)
            except OSError:
                continue  # sbatch does not look whether its words were written
    sh.variables["rc"] = str(sh.answer.status)
    if sh.answer.status > 128:
        sh.err += b"bash: line 1: killed\n"
    return 0.0


@BOOK.literal(
    'i=$(tail -n 1 "$T/out"); i=${i%%;*}; case "$i" in ""|*[^0-9]*) i= ;; esac; '
    '[ "$rc" -eq 0 ] && [ -n "$i" ] && printf "%s\\n" "$i" >"$T/id.tmp" '
    '&& mv "$T/id.tmp" "$T/id"; '
)
def keep_id(sh: Bash, m: Found) -> None:
    """Keep the id that sbatch said, if it said one and no trouble."""
    found = sh.disk.file(f"{sh.paths['T']}/out", cached=True)
    lines = found.data.replace(b"\0", b"").split(b"\n") if found else [b""]
    last = lines[-2] if len(lines) > 1 and not lines[-1] else lines[-1]
    word = last.partition(b";")[0]
    if sh.variables["rc"] == "0" and re.fullmatch(rb"[0-9]+", word):
        _keep(sh, f"{sh.paths['T']}/id", word + b"\n")


@BOOK.literal('printf "%s\\n" "$rc" >"$T/rc.tmp" && mv "$T/rc.tmp" "$T/rc"; say rc "$rc"; ')
def keep_rc(sh: Bash, m: Found) -> float:
    """Keep sbatch's exit status, and say it."""
    rc = sh.variables["rc"].encode()
    then(sh, (_say_rc, rc))
    _keep(sh, f"{sh.paths['T']}/rc", rc + b"\n")
    return 0.0


def _say_rc(sh: Bash, rc: bytes) -> None:
    sh.say("rc", rc)


def _keep(sh: Bash, path: str, data: bytes) -> None:
    """Write a file under another name, then give it its own."""
    then(sh, (_keep_empty, (path, data)))


def _keep_empty(sh: Bash, given: tuple[str, bytes]) -> None:
    path = given[0]
    try:
        sh.disk.write(f"{path}.tmp", b"")
    except OSError as error:
        sh.err += complaint("bash: line 1", f"{path}.tmp", error) + b"\n"
    else:
        then(sh, (_keep_data, given))


def _keep_data(sh: Bash, given: tuple[str, bytes]) -> None:
    path, data = given
    try:
        sh.disk.write(f"{path}.tmp", data)
    except OSError as error:
        sh.err += complaint("bash: line 1", "printf: write error", error) + b"\n"
    else:
        then(sh, (_keep_name, path))


def _keep_name(sh: Bash, path: str) -> None:
    try:
        sh.disk.rename(f"{path}.tmp", path)
    except OSError as error:
        sh.err += complaint("mv", f"cannot move '{path}.tmp' to '{path}'", error) + b"\n"


# --- sealing --------------------------------------------------------------------------------------


@BOOK.literal('ln -sT sealed "$J/claim" 2>/dev/null; ')
def seal(sh: Bash, m: Found) -> None:
    """Take the claim, so that no job can have it."""
    try:
        sh.disk.symlink("sealed", f"{sh.paths['J']}/claim")
    except OSError:
        return


@BOOK.literal("show")
def show_try(sh: Bash, m: Found) -> float:
    """Show what the try directory says."""
    show(sh)
    return 0.0

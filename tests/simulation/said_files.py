"""What the daemon says about files: its workdir, job directories, zipapps, results and logs."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from fnmatch import fnmatchcase

from simulation.bash import BOOK, WORD, Bash, Found, complaint, unquote
from simulation.disk import Dir, File
from simulation.process import Exit, then
from simulation.said_submit import stop
from simulation.tarball import tarball

MISSING = "No such file or directory"

# --- the workdir (edge/home.py) -------------------------------------------------------------------

BOOK.nothing(re.escape('stop() { say stop "$1"; say said "$2"; exit 0; }; '))


@BOOK.pattern(rf'w=(?P<word>(?:"\$\{{\w+:\?\}}"|{WORD})+); ')
def wanted(sh: Bash, m: Found) -> float:
    """Expand the workdir as it is configured."""
    path = ""
    for variable, literal in re.findall(rf'"\$\{{(\w+):\?\}}"|({WORD})', m["word"]):
        if variable and not sh.variables.get(variable):
            sh.err += f"bash: line 1: {variable}: parameter null or not set\n".encode()
            raise Exit(127)
        path += sh.variables[variable] if variable else unquote(literal)
    sh.paths["w"] = path
    return 0.0


@BOOK.pattern(
    r'\[ -d "\$w" \] \|\| \{ (?:(?P<make>m=\$\(mkdir "\$w" 2>&1\) \|\| '
    r'\[ -d "\$w" \] \|\| stop missing "\$m")'
    r'|stop missing "(?P<why>[\w ]+)"); \}; '
)
def find_workdir(sh: Bash, m: Found) -> None:
    """Go on only when the workdir is there, or can be made."""
    path = sh.paths["w"]
    if sh.disk.is_dir(path, cached=True):
        return
    if not m["make"]:
        stop(sh, "missing", m["why"].encode())
    try:
        sh.disk.mkdir(path)
    except OSError as error:
        stop(sh, "missing", complaint("mkdir", f"cannot create directory '{path}'", error))


@BOOK.literal(
    'W=$(cd "$w" && pwd -P) || stop missing "cannot enter it"; say home "$W"; '
    't=$(mktemp "$W/.clock.XXXXXX" 2>&1) || stop closed "$t"; '
)
def look_at_workdir(sh: Bash, m: Found) -> None:
    """Say where it is, and make a file in it."""
    home = sh.paths["w"].rstrip("/")
    sh.paths["W"] = home
    sh.say("home", home.encode())
    sh.paths["t"] = f"{home}/.clock.{sh.pid:06}"
    try:
        sh.disk.write(sh.paths["t"], b"")
    except OSError as error:
        what = f"failed to create file via template '{home}/.clock.XXXXXX'"
        stop(sh, "closed", complaint("mktemp", what, error))


@BOOK.literal('say now "$(stat -c %Y "$t")"; rm -f "$t"; ')
def tell_time(sh: Bash, m: Found) -> None:
    """Say what time its file server has."""
    sh.say("now", b"%d" % int(sh.disk.mtime(sh.paths["t"])))
    sh.disk.remove(sh.paths["t"])


@BOOK.pattern(r'put (?P<label>epoch|old) "\$W/epoch-(?P<who>[\w-]+)"(?:; )?')
def show_epoch(sh: Bash, m: Found) -> None:
    """Show the epoch in it."""
    sh.put(m["label"], f"{sh.paths['W']}/epoch-{m['who']}")


@BOOK.pattern(
    rf'E=(?P<stem>{WORD}); (?:O=(?P<old_stem>{WORD}); mv -T "\$O" "\$E" \|\| exit 8; '
    r'rmdir "\$O\.(?P<old_n>\d+)" 2>/dev/null; )?'
    r'mkdir "\$E\.(?P<new>\d+)" \|\| exit 9; '
    r"printf '%s\\n' (?P<n>\d+) >\"\$E\.tmp\" && mv -T \"\$E\.tmp\" \"\$E\" \|\| exit 8; "
    r'rmdir "\$E\.(?P<old>\d+)" 2>/dev/null; exit 0'
)
def raise_epoch(sh: Bash, m: Found) -> None:
    """Write the next epoch; who comes second cannot make the directory."""
    steps = ((_make_mark, m), (_write_epoch, m), (_name_epoch, m), (_forget_epoch, m))
    if m["old_stem"] is None:
        _make_mark(sh, m)
        then(sh, *steps[1:])
        return
    _move_epoch(sh, m)
    then(sh, (_forget_old, m), *steps)


def _move_epoch(sh: Bash, m: Found) -> None:
    old, new = unquote(m["old_stem"]), unquote(m["stem"])
    try:
        sh.disk.rename(old, new)
    except OSError as error:
        sh.err += complaint("mv", f"cannot move '{old}' to '{new}'", error) + b"\n"
        raise Exit(8) from None


def _forget_old(sh: Bash, m: Found) -> None:
    with suppress(OSError):
        sh.disk.rmdir(f"{unquote(m['old_stem'])}.{m['old_n']}")


def _make_mark(sh: Bash, m: Found) -> None:
    path = f"{unquote(m['stem'])}.{m['new']}"
    try:
        sh.disk.mkdir(path)
    except OSError as error:
        sh.err += complaint("mkdir", f"cannot create directory '{path}'", error) + b"\n"
        raise Exit(9) from None


def _write_epoch(sh: Bash, m: Found) -> None:
    path = f"{unquote(m['stem'])}.tmp"
    try:
        sh.disk.write(path, m["n"].encode() + b"\n")
    except OSError as error:
        sh.err += complaint("bash: line 1", path, error) + b"\n"
        raise Exit(8) from None


def _name_epoch(sh: Bash, m: Found) -> None:
    stem = unquote(m["stem"])
    try:
        sh.disk.rename(f"{stem}.tmp", stem)
    except OSError as error:
        sh.err += complaint("mv", f"cannot move '{stem}.tmp' to '{stem}'", error) + b"\n"
        raise Exit(8) from None


def _forget_epoch(sh: Bash, m: Found) -> None:
    try:
        sh.disk.rmdir(f"{unquote(m['stem'])}.{m['old']}")
    except OSError:
        raise Exit(0) from None
    raise Exit(0)


# --- job directories (edge/witness.py, edge/cluster.py) -------------------------------------------


def _cd(sh: Bash, path: str, status: int) -> None:
    if not sh.disk.is_dir(path, cached=True):
        sh.err += f"bash: line 1: cd: {path}: {MISSING}\n".encode()
        raise Exit(status)
    sh.cwd = path


@BOOK.pattern(rf"cd (?P<W>{WORD}) \|\| exit (?P<status>\d+); ")
def enter(sh: Bash, m: Found) -> None:
    """Go to the workdir; without it nothing can be said."""
    _cd(sh, unquote(m["W"]), int(m["status"]))


@BOOK.literal(
    'i=0; while IFS= read -r p; do [ -d "$p" ] && [ -r "$p" ] && say "dir.$i" ""; '
    'link "claim.$i" "$p/claim"; put "exit.$i" "$p/exit.json"; i=$((i + 1)); done'
)
def witness(sh: Bash, m: Found) -> float:
    """Show the claims and exits of the directories that standard input names."""
    # `read` is false for a last line without its end.
    lines = sh.stdin.decode().split("\n")[:-1]
    then(sh, *((_witness_one, pair) for pair in enumerate(lines)))
    return 0.0


def _witness_one(sh: Bash, given: tuple[int, str]) -> None:
    i, line = given
    path = line if line.startswith("/") else f"{sh.cwd}/{line}"
    if sh.disk.is_dir(path, cached=True):
        sh.say(f"dir.{i}", b"")
    sh.link(f"claim.{i}", f"{path}/claim")
    sh.put(f"exit.{i}", f"{path}/exit.json")


@BOOK.literal(
    'while IFS= read -r p; do [ -d "$p" ] && ln -sT sealed "$p/claim" 2>/dev/null; done; exit 0'
)
def seal_all(sh: Bash, m: Found) -> float:
    """Take the free claims of the directories that standard input names."""
    lines = sh.stdin.decode().split("\n")[:-1]
    then(sh, *((_seal_one, line) for line in lines), (_leave, 0))
    return 0.0


def _leave(sh: Bash, status: int) -> None:
    raise Exit(status)


def _seal_one(sh: Bash, line: str) -> None:
    path = line if line.startswith("/") else f"{sh.cwd}/{line}"
    if sh.disk.is_dir(path, cached=True):
        with suppress(OSError):
            sh.disk.symlink("sealed", f"{path}/claim")


@BOOK.pattern(rf"cat -- (?P<file>{WORD})$")
def cat(sh: Bash, m: Found) -> None:
    """Print a file."""
    path = unquote(m["file"])
    sh.last = 0
    try:
        sh.write(sh.disk.read(path, cached=True))
    except OSError as error:
        sh.err += complaint("cat", path, error) + b"\n"
        sh.last = 1


# --- what is sent (edge/parcels.py) ---------------------------------------------------------------


def _hash(sh: Bash, path: str) -> str:
    found = sh.disk.file(path, cached=True)
    if found is None:
        sh.err += f"bash: line 1: {path}: {MISSING}\n".encode()
    return hashlib.sha256(found.data).hexdigest() if found else ""


@BOOK.pattern(
    rf"set -- (?P<file>{WORD}); "
    r'\[ "\$\(sha256sum <"\$1" \| cut -c1-64\)" = (?P<sum>\w{64}) \] 2>/dev/null'
)
def is_sent(sh: Bash, m: Found) -> None:
    """Compare a file with its hash."""
    sh.last = int(_hash(sh, unquote(m["file"])) != m["sum"])


@BOOK.pattern(
    rf"set -- (?P<file>{WORD}); "
    r'mkdir -p "\$\{1%/\*\}"; f=\$1; set -- "\$f\.\$\$\.tmp"; '
    r'cat >"\$1" && \[ "\$\(sha256sum <"\$1" \| cut -c1-64\)" = (?P<sum>\w{64}) \] && '
    r'mv -fT "\$1" "\$f" \|\| \{ rm -f "\$1"; exit 1; \}'
)
def send(sh: Bash, m: Found) -> None:
    """Write what comes to a file, which gets its name when it is whole."""
    path = unquote(m["file"])
    try:
        sh.disk.make_dirs(path.rpartition("/")[0])
        sh.disk.write(f"{path}.{sh.pid}.tmp", sh.stdin)
    except OSError as error:
        sh.err += complaint("cat", "write error", error) + b"\n"
        then(sh, (_unsend, f"{path}.{sh.pid}.tmp"))
    else:
        then(sh, (_sent, (path, f"{path}.{sh.pid}.tmp", m["sum"])))


def _sent(sh: Bash, given: tuple[str, str, str]) -> None:
    path, part, checksum = given
    if _hash(sh, part) != checksum:
        then(sh, (_unsend, part))
        return
    sh.disk.rename(part, path)
    sh.last = 0


def _unsend(sh: Bash, part: str) -> None:
    sh.disk.remove(part)
    raise Exit(1)


# --- what comes home (edge/parcels.py) ------------------------------------------------------------


@BOOK.pattern(
    rf"cd (?P<W>{WORD}) && ls >/dev/null \|\| exit (?P<closed>\d+); "
    r"\[ -d runs \] \|\| \[ -f (?P<epoch>epoch-[\w-]+) \] \|\| "
    r"\{ echo 'it is empty' >&2; exit (?P=closed); \}; "
)
def enter_workdir(sh: Bash, m: Found) -> None:
    """Go to the workdir; an empty mount point is none."""
    workdir = unquote(m["W"])
    _cd(sh, workdir, int(m["closed"]))
    epoch = sh.disk.file(f"{workdir}/{m['epoch']}", cached=True)
    if not (sh.disk.is_dir(f"{workdir}/runs", cached=True) or epoch):
        sh.err += b"it is empty\n"
        raise Exit(int(m["closed"]))


@BOOK.pattern(
    rf'J=(?P<J>{WORD}); m=\$\(ls -d -- "\$J" 2>&1\) \|\| \{{ case "\$m" in '
    r'\*"No such file or directory"\*\) exit (?P<gone>\d+);; esac; '
    r"printf \"%s\\n\" \"\$m\" >&2; exit (?P<failed>\d+); \}; "
    r'cd "\$J" \|\| exit (?P=failed); set --; for f in (?P<names>[\w./* ]+); do '
    r'if m=\$\(ls -d -- "\$f" 2>&1\); then set -- "\$@" "\$f"; else '
    r'case "\$m" in \*"No such file or directory"\*\) ;; '
    r"\*\) printf \"%s\\n\" \"\$m\" >&2; exit (?P=failed);; esac; fi; done; "
    r'\[ \$# -gt 0 \] \|\| exit 0; tar -cf - "\$@" \| head -c (?P<limit>\d+); '
    r'exit "\$\{PIPESTATUS\[0\]\}"'
)
def pack(sh: Bash, m: Found) -> None:
    """Print an archive of what a job left."""
    job = unquote(m["J"])
    found = sh.disk.entry(job, cached=True)
    if found is None:
        raise Exit(int(m["gone"]))
    if not isinstance(found, Dir):
        sh.err += f"bash: line 1: cd: {job}: Not a directory\n".encode()
        raise Exit(int(m["failed"]))
    members: list[tuple[str, File | Dir]] = []
    for name in m["names"].split():
        top = f"{job}/{name.partition('/')[0]}"
        for path, entry in sh.disk.walk(top, cached=True):
            rest = path.removeprefix(f"{job}/")
            if isinstance(entry, File | Dir) and ("*" not in name or _globbed(rest, name)):
                members.append((rest, entry))
    if members:
        sh.write(tarball(members)[: int(m["limit"])])
    raise Exit(0)


def _globbed(path: str, pattern: str) -> bool:
    """Tell whether the shell finds a path by a pattern: no star crosses a directory."""
    return path.count("/") == pattern.count("/") and fnmatchcase(path, pattern)


@BOOK.pattern(
    rf"tail -c (?P<from>\+?)(?P<n>\d+) -- (?P<file>{WORD})(?: \| head -c (?P<limit>\d+))?$"
)
def tail(sh: Bash, m: Found) -> None:
    """Print the end of a file, or what follows some byte of it."""
    path, n = unquote(m["file"]), int(m["n"])
    sh.last = 0
    try:
        data = sh.disk.read(path, cached=True)
    except OSError as error:
        sh.err += complaint("tail", f"cannot open '{path}' for reading", error) + b"\n"
        sh.last = 0 if m["limit"] else 1
        return
    data = data[max(0, n - 1) :] if m["from"] else data[max(0, len(data) - n) :]
    sh.write(data[: int(m["limit"])] if m["limit"] else data)

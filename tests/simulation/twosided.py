"""A ``Shell`` with two sides: real bash on a real directory, and the virtual one; they must agree.

Whatever the daemon says to it is done twice: by bash on this machine, with stand-ins for Slurm's
commands, and by the simulation, from the same files. What both answer, the trees they leave and
what the stand-ins were asked are compared; the first difference is an ``AssertionError``.
"""

from __future__ import annotations

import errno
import io
import os
import re
import shlex
import subprocess
import tarfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchd.edge.shell import OUTPUT_LIMIT, ByteReader, ByteWriter, Completed, LinkReport
from simulation.agenda import Agenda
from simulation.bash import Answer, Bash
from simulation.disk import Dir, Disk, File, Link
from simulation.phrases import BOOK
from simulation.process import Process, Step

# What is at a path: a directory, a file's bytes, where a link points.
Tree = dict[str, tuple[str, bytes]]
PROGRAMS = ("sbatch", "squeue", "sacct", "scancel", "scontrol")
# Fails every write of a byte, as a full disk does, with another error: "File too large".
FULL = "trap '' XFSZ; ulimit -f 0; "
_STAND_IN = """\
#!/bin/bash
{{ printf '%s\\0' "$@"; printf '\\n'; }} >>{home}/{name}.asked
cat {home}/{name}.err >&2
cat {home}/{name}.out
rc=$(cat {home}/{name}.rc)
[ "$rc" -lt 128 ] || kill -s "$((rc - 128))" $$
exit "$rc"
"""
# The last number of a piece's head is a time: of this machine here, virtual there.
_TIME = re.compile(rb"(?m)^([a-z.0-9]+ \d+) [1-9]\d*$|(?<=^now 10 0\n)\d{10}$")


@dataclass
class Canned:
    """What Slurm's commands answer, on both sides; and what they were asked on the virtual one."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: defaultdict[str, list[tuple[str, ...]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def steps(
        self, name: str, argv: tuple[str, ...], environment: Mapping[str, str], cwd: str
    ) -> tuple[Step, ...]:
        """Answer at once."""
        return ((self._give, (name, argv)),)

    def _give(self, sh: Bash, asked: tuple[str, tuple[str, ...]]) -> float:
        name, argv = asked
        self.asked[name].append(argv)
        sh.answer = self.answers.get(name, Answer(0))
        return 0.0

    def ask_service(self, host: str, port: int, sent: bytes) -> Answer:
        """Find nothing that listens."""
        return Answer(1)


class TwoSided:
    """Runs every command twice and compares."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        self.programs = Canned()
        self.agenda = Agenda()
        self.disk = Disk(self.time)
        self.disk.full_errno = errno.EFBIG
        self.disk.make_dirs(str(root))
        self.generation = 1
        self.logins = 1
        self.state = "up"
        self.said: list[tuple[str, str]] = []  # op and command
        self.cut: int | None = None  # bytes of standard input that arrive
        self._bin = root.parent / f"{root.name}-bin"
        self._bin.mkdir()
        for name in PROGRAMS:
            program = self._bin / name
            home = shlex.quote(str(self._bin))
            program.write_text(_STAND_IN.format(home=home, name=name))
            program.chmod(0o755)
            self.answer(name, Answer(0))
        self.make_dir(self.home)

    def time(self) -> float:
        """Return what time it is on the virtual side."""
        return self.agenda.now

    # --- the same on both sides -----------------------------------------------------------------

    def answer(self, name: str, answer: Answer) -> None:
        """Have a command of Slurm's answer so."""
        self.programs.answers[name] = answer
        for what, data in (
            ("rc", b"%d" % answer.status),
            ("out", answer.out),
            ("err", answer.err),
        ):
            (self._bin / f"{name}.{what}").write_bytes(data)

    def make_dir(self, path: Path) -> None:
        """Make a directory and those above it."""
        path.mkdir(parents=True, exist_ok=True)
        self.disk.make_dirs(str(path))

    def write(self, path: Path, data: bytes) -> None:
        """Write a file."""
        self.make_dir(path.parent)
        path.write_bytes(data)
        self.disk.write(str(path), data)

    def link(self, path: Path, target: str) -> None:
        """Make a symbolic link."""
        self.make_dir(path.parent)
        path.symlink_to(target)
        self.disk.symlink(target, str(path))

    # --- a Shell --------------------------------------------------------------------------------

    def report(self) -> LinkReport:
        """Say that all is well."""
        return LinkReport(state=self.state)

    def resume(self) -> None:
        """Do nothing."""

    def retire(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def connect(
        self,
        host: str,
        port: int,
        timeout: float,  # noqa: ASYNC109 - the protocol's
    ) -> tuple[ByteReader, ByteWriter]:
        """Find nothing that listens."""
        raise ConnectionRefusedError

    async def run(
        self,
        command: str,
        *,
        op: str,
        stdin: bytes = b"",
        timeout: float,  # noqa: ASYNC109 - the protocol's
        limit: int = OUTPUT_LIMIT,
    ) -> Completed:
        """Run a command on both sides; return what the real one said."""
        self.said.append((op, command))
        if self.cut is not None:
            stdin = stdin[: self.cut]
        real = self._real(command, stdin, limit)
        virtual = self._virtual(command, stdin)
        shown = _shown(op, real.stdout), _shown(op, virtual.out[:limit])
        assert shown[0] == shown[1], f"{op}: bash said {shown[0]!r}, we {shown[1]!r}: {command}"
        assert real.status == virtual.status, f"{op}: {real} and {virtual}: {command}"
        assert bool(real.stderr) == bool(virtual.err), f"{op}: {real} and {virtual}: {command}"
        trees = self.real_tree(), self.virtual_tree()
        assert trees[0] == trees[1], f"{op}: {trees[0].items() ^ trees[1].items()}"
        asked = {n: self.programs.asked[n] for n in PROGRAMS}, self._asked()
        assert asked[0] == asked[1], f"{op}: {asked}"
        return real

    def _real(self, command: str, stdin: bytes, limit: int) -> Completed:
        path = f"{self._bin}:/usr/local/bin:/usr/bin:/bin"
        full = FULL if self.disk.full else ""
        done = subprocess.run(
            ["bash", "--norc", "-c", full + command],
            input=stdin,
            capture_output=True,
            cwd=self.home,
            env={"PATH": path, "HOME": str(self.home), "LC_ALL": "C", "TMPDIR": str(self.home)},
            check=False,
        )
        return Completed(
            status=done.returncode,
            stdout=done.stdout[:limit],
            stderr=done.stderr,
            seconds=0.0,
            truncated=len(done.stdout) > limit,
        )

    def _virtual(self, command: str, stdin: bytes) -> Answer:
        sh = Bash(
            self.disk, self.programs, self.time, stdin=stdin, home=str(self.home), uid=os.getuid()
        )
        sh.stack.extend(BOOK.read(command))
        ended: list[int] = []
        Process(self.agenda, sh, ended.append).start()
        while not ended and self.agenda.next_at is not None:
            self.agenda.run_until(self.agenda.next_at)
        return Answer(ended[0], bytes(sh.out), bytes(sh.err))

    # --- what is compared -----------------------------------------------------------------------

    def _asked(self) -> dict[str, list[tuple[str, ...]]]:
        """Return what the stand-ins were asked."""
        found: dict[str, list[tuple[str, ...]]] = {}
        for name in PROGRAMS:
            file = self._bin / f"{name}.asked"
            lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
            found[name] = [tuple(w.decode() for w in line.split(b"\0")[:-1]) for line in lines]
        return found

    def real_tree(self) -> Tree:
        """Return what is on the real disk."""
        return real_tree(self.root)

    def virtual_tree(self) -> Tree:
        """Return what is on the virtual one."""
        return virtual_tree(self.disk, self.root)


def real_tree(root: Path) -> Tree:
    """Return what is below a directory of this machine."""
    found: Tree = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()).encode())
        elif path.is_dir():
            found[name] = ("dir", b"")
        else:
            found[name] = ("file", path.read_bytes())
    return found


def virtual_tree(disk: Disk, root: Path) -> Tree:
    """Return what is below a directory of a virtual disk."""
    found: Tree = {}
    for path, entry in disk.walk(str(root)):
        name = path.removeprefix(f"{root}/")
        if path == str(root):
            continue
        match entry:
            case Dir():
                found[name] = ("dir", b"")
            case File():
                found[name] = ("file", entry.data)
            case Link():
                found[name] = ("link", entry.target.encode())
    return found


def _shown(op: str, data: bytes) -> object:
    """Return an answer without what differs between two machines: times, owners."""
    if op == "fetch" and data:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            return {
                member.name: (content.read() if (content := tar.extractfile(member)) else None)
                for member in tar
            }
    return _TIME.sub(rb"\1 T", data)

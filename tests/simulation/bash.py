"""A virtual bash on the login node: it knows the phrases of the product, and no others.

The daemon sends bash as text. It is not run here: it is read as a sequence of *phrases*, each of
which is one or a few statements, known to the letter, whose effect on the virtual file system and
the virtual Slurm is written beside it. Text that is not made of such phrases is ``NotUnderstood``:
a changed command breaks the simulation instead of being simulated wrongly. That each phrase does
what it does in bash is shown by the differential test, which asks bash itself.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from simulation.disk import Disk
from simulation.process import Exit, Step

# One word as shlex.quote writes it.
WORD = r"""(?:'[^']*'|"'"|[\w@%+=:,./-])+"""
# Seconds for a step that touches a file: a busy NFS server.
STEP = 0.004
# Bytes of one file that `put` shows at most.
SHOWN = 65536


class NotUnderstood(AssertionError):
    """The daemon sent a command, or a job's script, that this simulation has no meaning for.

    The product has changed: teach the simulation the new words, and let the differential test
    show that bash agrees.
    """


@dataclass(slots=True)
class Answer:
    """What a program said, and its exit status."""

    status: int
    out: bytes = b""
    err: bytes = b""


class Programs(Protocol):
    """The programs of the login node that are not coreutils: Slurm's commands, connections."""

    def steps(
        self, name: str, argv: tuple[str, ...], environment: Mapping[str, str], cwd: str
    ) -> tuple[Step, ...]:
        """Return the steps in which one runs; they leave ``Bash.answer``."""
        ...

    def ask_service(self, host: str, port: int, sent: bytes) -> Answer:
        """Connect to a compute node and say something; status 1 when nothing listens."""
        ...


class Bash:
    """One shell and its variables."""

    def __init__(
        self,
        disk: Disk,
        programs: Programs,
        now: Callable[[], float],
        *,
        stdin: bytes = b"",
        home: str = "/home/sim",
        pid: int = 1,
        uid: int = 1000,
        pace: float = 1.0,
    ) -> None:
        self.disk = disk
        self.programs = programs
        self.now = now
        self.stdin = stdin
        self.cwd = home
        self.variables = {"HOME": home}
        self.out = bytearray()
        self.err = bytearray()
        self.stack: list[Step] = []
        self.pause = STEP * pace
        self.last = 0  # $?
        self.pipe_is_broken = False
        self.ignores_sigpipe = False
        self.data = b""  # what was read from standard input
        self.uid = uid
        self.pid = pid  # in the names of temporary files
        self.paths: dict[str, str] = {}  # W, R, J, T ...: where things are
        self.answer = Answer(0)  # of the program that ran last
        self.deadline: float | None = None  # of the program that runs under `timeout`
        self.timed_out = False

    def at_exit(self, status: int) -> tuple[Step, ...]:
        """Do nothing on the way out."""
        return ()

    def gone(self) -> None:
        """Leave nothing behind."""

    def write(self, data: bytes) -> None:
        """Print to standard output; where nobody listens any more, SIGPIPE may end the shell."""
        if not self.pipe_is_broken:
            self.out += data
        elif not self.ignores_sigpipe:
            raise Exit(141)

    def nap(self, seconds: float) -> float:
        """Return for how long a program pauses, before `timeout` ends it."""
        if self.timed_out:
            return 0.0
        if self.deadline is not None and self.now() + seconds >= self.deadline:
            self.timed_out = True
            self.answer = Answer(124)
            return max(0.0, self.deadline - self.now())
        return seconds

    # --- the functions of `edge/pieces.py` ------------------------------------------------------

    def say(self, label: str, data: bytes, at: float = 0.0) -> None:
        """Print one piece."""
        self.write(b"%s %d %d\n%s\n" % (label.encode(), len(data), int(at), data))
        self.last = 0

    def put(self, label: str, path: str) -> None:
        """Show a file, if there is one."""
        self.last = 0
        found = self.disk.file(path, cached=True)
        if found is not None:
            self.say(label, found.data[:SHOWN].replace(b"\0", b""), found.mtime)

    def link(self, label: str, path: str) -> None:
        """Show where a link points, if there is one."""
        self.last = 0
        target = self.disk.readlink(path, cached=True)
        if target is not None:
            self.say(label, target.encode())


# What a phrase does: to whom, and the parts of the phrase that change. Pauses as a step.
Act = Callable[[Any, Any], "float | None"]
Found = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words known to the letter, but for what stands in the named groups; and what they do."""

    pattern: re.Pattern[str]
    act: Act


class Phrasebook:
    """Reads commands."""

    def __init__(self) -> None:
        self._phrases: list[Phrase] = []
        self.read = lru_cache(maxsize=512)(self._read)

    def literal(self, text: str) -> Callable[[Act], Act]:
        """Add a phrase that never differs."""
        return self.pattern(re.escape(text))

    def pattern(self, regex: str) -> Callable[[Act], Act]:
        """Add a phrase with changing parts."""

        def add(act: Act) -> Act:
            self._phrases.append(Phrase(re.compile(regex), act))
            return act

        return add

    def nothing(self, regex: str) -> None:
        """Add words that change nothing by themselves: definitions."""
        self.pattern(regex)(_nothing)

    def _read(self, text: str) -> tuple[Step, ...]:
        """Return the steps of a command, the last one first."""
        found: list[Step] = []
        at = 0
        while at < len(text):
            for phrase in self._phrases:
                match = phrase.pattern.match(text, at)
                if match is not None and match.end() > at:
                    if phrase.act is not _nothing:
                        found.append((phrase.act, match.groupdict()))
                    at = match.end()
                    break
            else:
                raise NotUnderstood(f"at {text[at : at + 160]!r} of {text!r}")
        return tuple(reversed(found))


def _nothing(speaker: object, found: Found) -> None:
    """Define functions."""


BOOK = Phrasebook()


def unquote(text: str) -> str:
    """Return what a word of ``shlex.quote`` means."""
    if "'" not in text:
        return text
    inside = text[1:-1]
    if text[0] == text[-1] == "'" and "'" not in inside:
        return inside
    return shlex.split(text)[0]


def complaint(program: str, what: str, error: OSError) -> bytes:
    """Return what coreutils print."""
    return f"{program}: {what}: {error.strerror}".encode()

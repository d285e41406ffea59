"""A real terminal of a given size: a program runs in it, and what it wrote is read back."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass, field

from support.daemon import REPO

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r")


@dataclass(slots=True)
class Terminal:
    """One program in one terminal; stderr is the same terminal unless ``errors`` is a file."""

    columns: int
    lines: int = 24
    raw: bytes = b""
    process: subprocess.Popen[bytes] | None = None
    _master: int = field(default=-1)

    def start(self, *argv: str) -> Terminal:
        """Start a program of ours: the words after ``python``."""
        self._master, slave = pty.openpty()
        size = struct.pack("HHHH", self.lines, self.columns, 0, 0)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
        hidden = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}
        kept = {key: value for key, value in os.environ.items() if key not in hidden}
        paths = {"PYTHONPATH": os.pathsep.join([str(REPO / "daemon"), *sys.path])}
        try:
            self.process = subprocess.Popen(
                [sys.executable, *argv],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env={**kept, **paths, "TERM": "xterm-256color"},
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - Ctrl-C needs it
            )
        finally:
            os.close(slave)
        return self

    def wait_for(self, words: str, seconds: float = 20.0) -> float:
        """Read until the program has written these words; return how long that took."""
        started = time.monotonic()
        while words not in self.text():
            left = started + seconds - time.monotonic()
            assert left > 0, f"not within {seconds:.0f} s: {words!r} in\n{self.text()}"
            assert self._read(left), f"it ended without {words!r}:\n{self.text()}"
        return time.monotonic() - started

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.write(self._master, b"\x03")

    def finish(self, seconds: float = 30.0) -> int:
        """Read until the program ends; return its exit status."""
        assert self.process is not None
        deadline = time.monotonic() + seconds
        try:
            while self._read(deadline - time.monotonic()):
                assert time.monotonic() < deadline, f"it goes on:\n{self.text()}"
            return self.process.wait(max(deadline - time.monotonic(), 0.1))
        finally:
            self.close()

    def close(self) -> None:
        """End the program, whatever it does."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def text(self) -> str:
        """Return all that was written, without colours and movements of the cursor."""
        return CONTROL.sub("", self.raw.decode(errors="replace"))

    def tail(self, lines: int) -> list[str]:
        """Return the last lines that are not empty."""
        return [line.rstrip() for line in self.text().splitlines() if line.strip()][-lines:]

    def _read(self, patience: float) -> bool:
        """Take in what is there; False at the end."""
        ready, _, _ = select.select([self._master], [], [], max(patience, 0))
        if not ready:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError as error:
            if error.errno == errno.EIO:  # how Linux says that the other side was closed
                return False
            raise
        self.raw += data
        return bool(data)

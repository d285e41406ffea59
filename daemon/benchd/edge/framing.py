r"""One remote command and its answer, in the middle of whatever a login node says around it.

Start-up files print banners into stdout, and SSH's own exit status is missing when it matters
most. So the command prints a nonce before and after: what stands before the first is dropped,
and the second carries the status. Without the second, nobody knows how the command ended.
"""

from __future__ import annotations

import secrets
import shlex
from dataclasses import dataclass, field

from benchd.edge.shell import KILL_AFTER, Capped, Completed

# $0 is the nonce, $1 the seconds, $2 the command: a single level of quoting. --norc because bash
# reads .bashrc for a command that comes over SSH. LC_ALL=C: lengths are bytes, messages English.
_FRAME = (
    'export LC_ALL=C; printf "%s<\\n" "$0"; printf "%s<\\n" "$0" >&2; '
    f'timeout -k {KILL_AFTER} "$1" bash --norc -c "$2"; printf "\\n%s:%d\\n" "$0" "$?"'
)
# Exit statuses of `timeout` when it had to end the command, by TERM or by KILL.
_TIMED_OUT = (124, 137)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One framed command."""

    command: str
    seconds: float
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def text(self) -> str:
        """The line for the login shell; holds for bash, dash, zsh, fish and tcsh alike."""
        words = ("exec", "bash", "--norc", "-c", _FRAME, self.nonce, f"{self.seconds:g}")
        return shlex.join((*words, self.command))

    @property
    def start(self) -> bytes:
        """The line before the command's own first word, on both streams."""
        return f"{self.nonce}<\n".encode()

    def status(self, stdout: Capped) -> int | None:
        """Return the command's exit status, or None when the end was never said."""
        _before, mark, after = stdout.tail.rpartition(f"\n{self.nonce}:".encode())
        number = after.strip()
        return int(number) if mark and number.isdigit() else None

    def out(self, stdout: Capped) -> bytes:
        """Return what the command itself said on stdout, as far as it was kept."""
        said = self.err(stdout)
        end = said.rfind(f"\n{self.nonce}:".encode())
        return said if end < 0 else said[:end]

    def err(self, stderr: Capped) -> bytes:
        """Return a stream without what stood before the command began."""
        before, mark, after = stderr.head.partition(self.start)
        return after if mark else before

    def completed(
        self, stdout: Capped, stderr: Capped, limit: int, seconds: float
    ) -> Completed | None:
        """Return how the command ended; None when its end was never said."""
        status, said = self.status(stdout), self.out(stdout)
        if status is None:
            return None
        return Completed(
            status=status,
            stdout=said[:limit],
            stderr=self.err(stderr),
            seconds=seconds,
            truncated=stdout.truncated or stderr.truncated or len(said) > limit,
        )

    def timed_out(self, done: Completed) -> bool:
        """Tell whether the far side ended the command because its time was over."""
        return done.status in _TIMED_OUT and done.seconds >= self.seconds

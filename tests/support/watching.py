"""Looking at what every user of a machine can see of another's programs."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Watch:
    """Looks at the command lines of all processes, as every user of a machine can."""

    words: tuple[bytes, ...] = ()
    seen: set[bytes] = field(default_factory=set)
    looked_at: set[str] = field(default_factory=set)
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Look until told to stop."""
        while not self._over.wait(0.002):  # seconds; programs live longer than that
            for entry in os.scandir("/proc"):
                if entry.name.isdigit():
                    with contextlib.suppress(OSError):
                        self._look(Path(entry.path, "cmdline").read_bytes())

    def _look(self, line: bytes) -> None:
        # A server that gives itself a title (redis-server 127.0.0.1:6379) has words, not arguments.
        program = line.partition(b"\0")[0].partition(b" ")[0].rpartition(b"/")[2]
        self.looked_at.add(program.decode(errors="replace"))
        if any(word in line for word in self.words):
            self.seen.add(line)

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Look while the block runs."""
        thread = threading.Thread(target=self.run, name="watch")
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

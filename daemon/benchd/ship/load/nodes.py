"""Several load generators on several nodes: who does how much, and when all of them begin.

They see the same directory and nothing else of each other, so they meet there, through files.
Each measures how far its clock is from that of the file server; the first one waits until all are
ready and names a moment by that clock, and each begins when its own clock says so. What a node
cannot see in time makes it late, which is recorded and never hidden.
"""

import asyncio
import json
import os
import platform
import time
from contextlib import suppress
from typing import Any, Awaitable, Callable, Dict, List, NamedTuple, Optional

from .record import SAMPLES, write_whole
from .work import Json, NotReady

# Seconds in which all nodes must be ready once the first is: a slow node pulls, warms up, waits.
_PATIENCE = 600.0
# Seconds between two looks at the directory.
_LOOK = 0.05
# Seconds between the moment when all are ready and the start: at least so long, and longer where
# files are seen late.
_MARGIN = 1.0
# Seconds that a process which was told to end waits for what the others leave.
_HURRY = 3.0
# Looks at the server's clock; the one that took the shortest time is the best.
_LOOKS = 8
# Seconds by which a time that a file system stamps may be too early: a tick of its clock.
_TICK = 0.004


class Offset(NamedTuple):
    """This node's clock minus the file server's, and by how much that may be wrong; seconds."""

    seconds: float
    error: float


class Together:
    """This node's part in a measurement of several."""

    def __init__(self, index: int, count: int, directory: str) -> None:
        self.index = index
        self.count = count
        self.directory = directory
        self.offset: Optional[Offset] = None
        self.begins: Optional[float] = None  # by the file server's clock
        self.late = 0.0
        os.makedirs(self.home(index), exist_ok=True)

    def home(self, index: int) -> str:
        """Return where a node writes."""
        return os.path.join(self.directory, "node-%d" % index)

    @property
    def out(self) -> str:
        """Return where this one writes."""
        return self.home(self.index)

    def share(self, total: int) -> int:
        """Return how many of so many are this node's."""
        return share(total, self.count, self.index)

    async def start(self, look: Callable[[], Awaitable[None]]) -> None:
        """Say that this node is ready, and return at the moment at which all begin.

        When all are ready, the first one takes a look, but not for longer than half of the time
        that is left.
        """
        self.offset = _offset(os.path.join(self.out, "clock"))
        self._say("ready.json", {"host": platform.node(), "at": self._now()})
        if self.index == 0:
            self.begins = await self._call()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(look(), (self.begins - self._now()) / 2.0)
        else:
            said = await self._seen(0, "start.json")
            self.begins = float(said["begins"])
        pause = self.begins - self._now()
        self.late = max(0.0, -pause)
        if pause > 0:
            await asyncio.sleep(pause)

    async def _call(self) -> float:
        """Wait for all, and say when to begin."""
        looking, lag = self._now(), 0.0
        for index in range(1, self.count):
            said = await self._seen(index, "ready.json")
            lag = max(lag, self._now() - max(looking, float(said["at"])))
        begins = self._now() + _MARGIN + 2 * min(lag, _PATIENCE)
        self._say("start.json", {"begins": begins})
        return begins

    def _now(self) -> float:
        """Return the time by the file server's clock."""
        return time.time() - (self.offset.seconds if self.offset else 0.0)

    async def _seen(self, node: int, name: str) -> Json:
        end = time.monotonic() + _PATIENCE
        while True:
            said = self._read(node, name)
            if said is not None:
                return said
            for index in range(self.count):
                failed = self._read(index, "failed.json")
                if failed is not None and index != self.index:
                    message = "node %d (%s) cannot begin: %s"
                    raise NotReady(message % (index, failed["host"], failed["why"]))
            if time.monotonic() > end:
                raise NotReady("node %d was not ready within %g s" % (node, _PATIENCE))
            await asyncio.sleep(_LOOK)

    def fail(self, why: str) -> None:
        """Tell the others that this node will not begin."""
        self._say("failed.json", {"host": platform.node(), "why": why})

    def _say(self, name: str, what: Json) -> None:
        write_whole(os.path.join(self.out, name), json.dumps(what) + "\n")

    def _read(self, index: int, name: str) -> Optional[Json]:
        home = self.home(index)
        try:
            os.listdir(home)  # what a network file system remembers of a directory is asked again
            with open(os.path.join(home, name), encoding="utf-8") as file:
                value: Any = json.load(file)
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    async def results(self, patience: float, hurry: Callable[[], bool]) -> Dict[int, Json]:
        """Return what the nodes left: once all have, or none of the rest has measured any more.

        ``patience``: seconds without a new sample. ``hurry``: whether there is no time left.
        """
        found: Dict[int, Json] = {}
        told: Optional[float] = None
        size, end = -1, 0.0
        while True:
            for index in range(self.count):
                document = self._read(index, "result.json") if index not in found else None
                if document is not None:
                    found[index] = document
            now, before = time.monotonic(), size
            size = sum(self._measured(index) for index in range(self.count) if index not in found)
            if size != before:
                end = now + patience
            told = told or (now if hurry() else None)
            if told is not None:
                end = min(end, told + _HURRY)
            if len(found) == self.count or now > end:
                return found
            await asyncio.sleep(_LOOK)

    def _measured(self, index: int) -> int:
        """Return the size of the samples that a node has written so far."""
        try:
            return os.stat(os.path.join(self.home(index), SAMPLES)).st_size
        except OSError:
            return 0

    def described(self) -> Json:
        """Return what is known of this node's clock and start."""
        offset = self.offset
        return {
            "index": self.index,
            "count": self.count,
            "clock_offset_ms": offset.seconds * 1000.0 if offset else None,
            "clock_error_ms": offset.error * 1000.0 if offset else None,
            "late_ms": self.late * 1000.0 if self.begins is not None else None,
        }


def share(total: int, count: int, index: int) -> int:
    """Return the part of node ``index`` of so many: as equal as whole numbers can be."""
    return total // count + int(index < total % count)


def _offset(path: str) -> Offset:
    """Compare this clock with the one that stamps files; nothing else happens meanwhile."""
    best: List[Offset] = []
    for _ in range(_LOOKS):
        before = time.time()
        with open(path, "w", encoding="utf-8") as file:
            file.write("now\n")
            file.flush()
            os.fsync(file.fileno())
        after = time.time()
        stamp = os.stat(path).st_mtime
        error = (after - before + _TICK) / 2.0
        best.append(Offset((before + after - _TICK) / 2.0 - stamp, error))
        os.remove(path)
    return min(best, key=lambda offset: offset.error)

"""Several processes that share the load of one node: forked before any event loop, asked by pipe.

The parent looks at the service, fills it and says when a phase begins; the workers send, and hand
back every sample as it stands in samples.jsonl. Their monotonic clock is the parent's. A worker
whose parent is gone ends.
"""

import asyncio
import json
import os
import pickle
import signal
import socket
import struct
import time
from typing import Any, Dict, List, Optional, Tuple

from .arrivals import Load
from .driving import Driver, Part, phase
from .health import Watch
from .punctual import new_event_loop
from .sending import Phase, Stop
from .work import Json, NotReady, Sample, Workload, is_measured

_LENGTH = struct.Struct(">Q")
# Seconds between two bundles of samples on their way to the parent.
_BUNDLE = 0.5
# Seconds after an order to begin in which it has surely arrived.
_MARGIN = 0.1
# Seconds that workers have for their last words when they are told to end.
_LAST_WORDS = 3.0


class Channel:
    """Messages between two processes of ours."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self._turn = asyncio.Lock()
        end.setblocking(False)

    async def say(self, message: Any) -> None:
        """Send one."""
        data = pickle.dumps(message, 4)
        async with self._turn:  # a large one goes in pieces, and another must not come between
            await asyncio.get_event_loop().sock_sendall(self.end, _LENGTH.pack(len(data)) + data)

    async def hear(self) -> Any:
        """Return the next one; None when the other end is gone."""
        head = await self._read(_LENGTH.size)
        if head is None:
            return None
        data = await self._read(_LENGTH.unpack(head)[0])
        return None if data is None else pickle.loads(data)  # noqa: S301 - from our own process

    async def _read(self, size: int) -> Optional[bytes]:
        parts: List[bytes] = []
        while size:
            try:
                part = await asyncio.get_event_loop().sock_recv(self.end, min(size, 1 << 20))
            except OSError:
                return None
            if not part:
                return None
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def fork(count: int) -> List[Tuple[int, socket.socket]]:
    """Return process id and our end of the channel of each of so many new workers."""
    made: List[Tuple[int, socket.socket]] = []
    for _ in range(count):
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            for _, other in made:
                other.close()  # or a sibling would not see the end of the parent
            ours.close()
            _live(theirs)
        theirs.close()
        made.append((pid, ours))
    return made


def _live(end: socket.socket) -> None:
    """Be a worker, and never come back."""
    status = 1
    try:
        # The parent hears of the end of the job too, and says what is to be done.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        loop = new_event_loop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(_Worker(Channel(end)).work())
        status = 0
    finally:
        os._exit(status)


class _Worker:
    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.lines: List[str] = []
        self.zero = 0.0

    async def work(self) -> None:
        """Do what the parent says until it says no more."""
        first = await self.channel.hear()
        if first is None:
            return
        workload, load, part, self.zero, home = first
        driver = Driver(workload, load, part, self._sample)
        order: "asyncio.Future[Any]" = asyncio.ensure_future(self.channel.hear())
        while True:
            said = await order
            if said is None or said == "end":
                driver.close()
                return
            name, stop, begins, wanted = said
            driver.become(wanted)
            what = phase(name, wanted, stop, part)
            running = asyncio.ensure_future(self._phase(driver, what, begins))
            order = asyncio.ensure_future(self.channel.hear())
            await asyncio.wait([running, order], return_when=asyncio.FIRST_COMPLETED)
            if not running.done():  # told to end
                running.cancel()
            facts = await running
            os.makedirs(home, exist_ok=True)
            workload.leave(home)
            await self._flush()
            await self.channel.say(("done", facts))

    def _sample(self, sample: Sample) -> None:
        self.lines.append(sample.text(self.zero))

    async def _flush(self) -> None:
        lines, self.lines = self.lines, []
        if lines:
            await self.channel.say(("samples", "\n".join(lines)))

    async def _bundles(self) -> None:
        while True:
            await asyncio.sleep(_BUNDLE)
            await asyncio.shield(asyncio.ensure_future(self._flush()))

    async def _phase(self, driver: Driver, what: Phase, begins: float) -> Json:
        watch = Watch()
        await driver.open_ahead()
        await asyncio.sleep(max(0.0, begins - time.monotonic()))
        what.started = begins
        bundles = asyncio.ensure_future(self._bundles())
        watch.start()
        try:
            await driver.run(what)
        except asyncio.CancelledError:
            pass
        finally:
            watch.stop()
            bundles.cancel()
        return {
            "issued": what.issued,
            "scheduled": what.scheduled,
            "gone": what.gone,
            "cpu_share": watch.cpu_share,
            "loop_lag_p99_ms": watch.lag_p99_ms,
        }


class Crew:
    """The workers as the parent sees them; runs phases as a driver does."""

    def __init__(self, made: List[Tuple[int, socket.socket]]) -> None:
        self.pids = [pid for pid, _ in made]
        self.channels = [Channel(end) for _, end in made]
        self.facts: List[Json] = []
        self._homes: List[str] = []
        self._on_lines: Any = None
        self._workload: Optional[Workload] = None
        self._zero = 0.0
        self._place = 0
        self._texts: List[str] = []

    async def begin(
        self, workload: Workload, load: Load, part: Part, zero: float, home: str, on_lines: Any
    ) -> None:
        """Give every worker its part of this node's part; ``on_lines`` gets all samples' lines."""
        self._workload, self._on_lines = workload, on_lines
        self._zero, self._place = zero, part.place
        count = len(self.channels)
        for index, channel in enumerate(self.channels):
            own = Part(part.place + part.total * index, part.total * count)
            self._homes.append(os.path.join(home, "worker-%d" % index))
            workload.numbering.index, workload.numbering.count = own
            await channel.say((workload, load, own, zero, self._homes[-1]))

    async def run(self, what: Phase, stop: Stop, load: Load) -> None:
        """Have a phase run by all, and collect what came of it."""
        what.elsewhere = 0
        begins = max(what.started, time.monotonic()) + _MARGIN
        what.started = begins
        waits = [
            asyncio.ensure_future(self._one(channel, what, (what.name, stop, begins, load)))
            for channel in self.channels
        ]
        try:
            await asyncio.gather(*[asyncio.shield(wait) for wait in waits])
        except asyncio.CancelledError:
            for channel in self.channels:
                await channel.say("end")
            await asyncio.wait(waits, timeout=_LAST_WORDS)
            raise
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            self._absorb(what)

    async def _one(self, channel: Channel, what: Phase, order: Tuple[Any, ...]) -> None:
        await channel.say(order)
        while True:
            said = await channel.hear()
            if said is None:
                raise NotReady("a process of the load generator died: is memory short?")
            kind, value = said
            if kind == "done":
                what.issued += value["issued"]
                what.elsewhere = (what.elsewhere or 0) + value["scheduled"]
                what.gone = what.gone or value["gone"]
                self.facts.append(dict(value, phase=what.name))
                return
            self._on_lines(value)
            self._texts.append(value)

    def _absorb(self, what: Phase) -> None:
        """Read what the workers have left; only now, for while they send the cores are theirs."""
        texts, self._texts = self._texts, []
        if self._workload is not None:
            for line in "\n".join(texts).splitlines():
                sample = self._workload.restored(json.loads(line), self._zero, self._place)
                what.samples.append(sample)
        for home in self._homes:
            if self._workload is not None and os.path.isdir(home):
                self._workload.absorb(home, False)
                os.rmdir(home)

    def worst(self, name: str, phase: Optional[str] = None) -> Optional[float]:
        """Return the highest of what the workers noticed of themselves while they measured.

        ``phase``: the only one that counts, which need not be measured.
        """
        seen: List[Dict[str, Any]] = [
            f for f in self.facts if (f["phase"] == phase if phase else is_measured(f["phase"]))
        ]
        values = [f[name] for f in seen if f[name] is not None]
        return max(values) if values else None

    def close(self) -> None:
        """Let them end, and see to it that they do."""
        for channel in self.channels:
            channel.end.close()
        for pid in self.pids:
            os.waitpid(pid, 0)

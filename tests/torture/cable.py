"""The proxy of ``support.wire`` for tests that run in no event loop."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

from support.wire import Wire

# Seconds for the loop of the thread to do what it is asked; it does nothing else.
ANSWER_S = 10.0


class Cable:
    """Forwards ``port`` to another one until ``close``; can reset what it forwards."""

    def __init__(self, target: int) -> None:
        self._wire = Wire(target)
        self._ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        self._loop, self._end = self._ready.result(ANSWER_S)

    async def _run(self) -> None:
        end = asyncio.Event()
        async with self._wire:
            self._ready.set_result((asyncio.get_running_loop(), end))
            await end.wait()

    @property
    def port(self) -> int:
        """Where to connect."""
        return self._wire.port

    def reset(self) -> None:
        """Reset every connection."""
        self._loop.call_soon_threadsafe(self._wire.cut)

    def close(self) -> None:
        """Reset what is open and listen no more."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(ANSWER_S)

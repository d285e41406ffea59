"""Virtual time for coroutines that only wait for time and for each other."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _NoWait(selectors.SelectSelector):
    """A selector that lets the loop's time pass instead of waiting."""

    def __init__(self, loop: list[VirtualLoop]) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everything waits, and nothing will ever happen")
        self._loop[0].now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose seconds pass at once."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        cell: list[VirtualLoop] = []
        super().__init__(_NoWait(cell))
        cell.append(self)

    def time(self) -> float:
        """Return the virtual time."""
        return self.now


def run(story: Coroutine[Any, Any, T]) -> T:
    """Run a story in virtual time; it begins at 1000 s."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story)


def now() -> float:
    """Return the running loop's time."""
    return asyncio.get_running_loop().time()


async def pass_time(seconds: float) -> None:
    """Let virtual time pass; outside a virtual loop this would wait, and so it refuses."""
    assert isinstance(asyncio.get_running_loop(), VirtualLoop)
    await asyncio.sleep(seconds)

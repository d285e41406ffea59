"""Doing for many at once what several callers want at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from benchd.edge.budget import Sleep
from benchd.errors import Unreachable

# Seconds in which calls count as one: the effects of one turn of the engine arrive within a few ms.
WINDOW = 0.05


class _Batch:
    """The words that go together. ``done``: how it ended, for those who only joined."""

    def __init__(self) -> None:
        self.words: dict[str, None] = {}  # each once, in the order of arrival
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.joined = 0


class Gathered:
    """Gathers the words of calls that arrive close together and does them in one go.

    The first caller waits and does it, the others wait for the first: there is no task that
    nobody owns. When the first is cancelled, the others learn that nothing is known.
    """

    def __init__(
        self, do: Callable[[Sequence[str]], Awaitable[None]], *, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._do = do
        self._sleep = sleep
        self._open: _Batch | None = None

    async def add(self, word: str) -> None:
        """Have ``word`` done together with others; raise what doing it raised."""
        if self._open is not None:
            batch = self._open
            batch.words[word] = None
            batch.joined += 1
            await asyncio.shield(batch.done)
            return
        batch = self._open = _Batch()
        batch.words[word] = None
        try:
            await self._lead(batch)
        except BaseException as error:
            if batch.joined:
                batch.done.set_exception(_told(error))
            raise
        batch.done.set_result(None)

    async def _lead(self, batch: _Batch) -> None:
        try:
            await self._sleep(WINDOW)
        finally:
            self._open = None
        await self._do(tuple(batch.words))


def _told(error: BaseException) -> Exception:
    """Return what those who joined are told: the same, but no cancellation that is not theirs."""
    if isinstance(error, Exception):
        return error
    return Unreachable("the call that this one had joined was given up; nothing is known")

"""An event loop that wakes when it is told to: ``epoll`` alone counts in milliseconds, rounded up.

What waits is ``select`` on the one descriptor of ``epoll``: its time-out is kept to the kernel's
timer slack, 50 us unless somebody says. It costs one call to the system more for each time that
the loop has nothing to do, and nothing spins.
"""

import asyncio
import select
import selectors
from typing import Any, Optional


class Selector(selectors.EpollSelector):
    """Epoll that can wait for less than a millisecond."""

    def select(self, timeout: Optional[float] = None) -> Any:
        """Return what is ready after so many seconds at most; None: whenever something is."""
        if timeout is None or timeout > 0:
            select.select([self.fileno()], (), (), timeout)
        return selectors.EpollSelector.select(self, 0)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop whose timers are exact."""
    return asyncio.SelectorEventLoop(Selector())

"""Was the client itself the bottleneck? Lateness of its event loop and its share of a core."""

import asyncio
import gc
import time
from typing import Any, List, Optional

from .summary import NEEDED, percentile

# How often the loop is asked for the time, in seconds.
_TICK = 0.01
_gc: Any = gc  # freeze is not in Python 3.6


class Watch:
    """Measures while it runs; no garbage is collected meanwhile, which would stop everything."""

    def __init__(self) -> None:
        self.lags: List[float] = []
        self._task: "Optional[asyncio.Future[None]]" = None
        self._cpu = 0.0
        self._wall = 0.0
        self.cpu_share: Optional[float] = None

    def start(self) -> None:
        """Begin."""
        gc.collect()
        if hasattr(gc, "freeze"):
            _gc.freeze()
        gc.disable()
        self._cpu, self._wall = time.process_time(), time.monotonic()
        self._task = asyncio.ensure_future(self._tick())

    async def _tick(self) -> None:
        while True:
            due = time.monotonic() + _TICK
            await asyncio.sleep(_TICK)
            self.lags.append(max(0.0, time.monotonic() - due))

    def stop(self) -> None:
        """End, and keep the CPU share."""
        if self._task is None:
            return
        gc.enable()
        self._task.cancel()
        self._task = None
        wall = time.monotonic() - self._wall
        self.cpu_share = (time.process_time() - self._cpu) / wall if wall > 0 else None

    @property
    def lag_p99_ms(self) -> Optional[float]:
        """Return how late the loop was, or None when there were too few looks.

        Of fewer looks than a p99 needs it is p95 or p90: no more than the p99 would be.
        """
        for key in ("99", "95", "90"):
            if len(self.lags) >= NEEDED[key]:
                return percentile(sorted(self.lags), float(key)) * 1000.0
        return None

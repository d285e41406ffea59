"""A circuit breaker: a cluster that fails again and again is left alone, longer each time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

from benchd.edge.shell import Resting
from benchd.errors import NeedsHuman, Unreachable
from benchd.metrics import Metrics

# Link failures within so many seconds open the circuit for so many seconds, at first.
FAILURES, WINDOW, OPEN = 5, 120.0, 60.0
# Seconds after which it opens for no longer than this, however often it did before.
LONGEST = 900.0
# An opening within so many seconds of the end of the last one makes the pause twice as long.
AGAIN = 600.0
# Seconds in which only a look at the queue may be the trial: it changes nothing when it is lost.
LEAD = 15.0
_LOOKS = frozenset({"poll", "open"})
# Seconds until others may ask again while one call finds out.
_MEANWHILE = 5.0


class Circuit(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"  # they do
    OPEN = "open"  # none does
    HALF_OPEN = "half-open"  # one does, and decides


class Breaker:
    """Counts the link failures of one cluster and says when nothing may be tried."""

    def __init__(
        self,
        cluster: str,
        *,
        metrics: Metrics,
        clock: Callable[[], float],
        longest: float = LONGEST,
        beside: Breaker | None = None,
    ) -> None:
        """``beside``: that of another way to the same cluster; one gauge shows both."""
        self._cluster = cluster
        self._longest = longest
        self._clock = clock
        self._failures: deque[float] = deque(maxlen=FAILURES)
        self._failed_at: float | None = None  # when the last incident was noticed
        self._open_until: float | None = None
        self._pause = 0.0  # the last one, seconds
        self._closed_at: float | None = None
        self._trying = False
        both = (self,) if beside is None else (self, beside)
        gauge = metrics.circuit_open.labels(cluster)
        gauge.set_function(lambda: float(any(b.state is not Circuit.CLOSED for b in both)))

    @property
    def state(self) -> Circuit:
        """Whether calls go through now."""
        if self._open_until is None:
            return Circuit.CLOSED
        return Circuit.OPEN if self.wait > 0 else Circuit.HALF_OPEN

    @property
    def wait(self) -> float:
        """Seconds until the next call may be made; 0 when it may be made now."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - self._clock())

    def check(self, op: str) -> None:
        """Raise ``Resting`` when a call for ``op`` would not be let through."""
        if self._open_until is None:
            return
        if self.wait > 0:
            raise Resting(
                f"{self._cluster}: {FAILURES} link failures within {WINDOW / 60:.0f} minutes; "
                f"left alone for {self.wait:.0f} s",
                self.wait,
            )
        if self._trying:
            raise Resting(f"{self._cluster}: one call finds out whether it answers", _MEANWHILE)
        lead = self._open_until + LEAD - self._clock()
        if op not in _LOOKS and lead > 0:
            raise Resting(f"{self._cluster}: the next poll finds out whether it answers", lead)

    def require_closed(self) -> None:
        """Raise ``Resting`` unless calls go through: for what can be no trial."""
        if self._open_until is not None:
            self.check("poll")
            raise Resting(f"{self._cluster}: the next poll finds out whether it answers", LEAD)

    @contextmanager
    def guard(self, op: str) -> Iterator[None]:
        """Let one call through, or raise ``Resting``; its end is what the circuit goes by."""
        self.check(op)
        trial = self._open_until is not None
        self._trying = self._trying or trial
        began = self._clock()
        try:
            yield
        except (Resting, NeedsHuman):
            raise  # nothing was tried, or trying again is not ours to decide
        except Unreachable:
            self._failed(began, trial=trial)
            raise
        else:
            self._close()
        finally:
            if trial:
                self._trying = False

    def reset(self) -> None:
        """Forget all failures: a human says that it is mended."""
        self._close()
        self._closed_at = None

    def _failed(self, began: float, *, trial: bool) -> None:
        """Count a failure, but for calls that one and the same incident took along."""
        if self._failed_at is not None and began < self._failed_at:
            return
        now = self._failed_at = self._clock()
        self._failures.append(now)
        often = len(self._failures) == FAILURES and now - self._failures[0] <= WINDOW
        if trial or often:
            again = trial or (self._closed_at is not None and now - self._closed_at < AGAIN)
            self._pause = min(self._longest, self._pause * 2) if again else OPEN
            self._open_until = now + self._pause

    def _close(self) -> None:
        """Forget the failures: it answers."""
        self._failures.clear()
        if self._open_until is not None:
            self._open_until = None
            self._closed_at = self._clock()

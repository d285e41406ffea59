"""An event loop on virtual time: nothing is waited for, and the order of everything is fixed.

What is ready runs in the order in which it became ready, as in asyncio itself; when nothing is, the
agenda of the world outside goes on to the next moment at which something happens, there or here.
Every call the loop makes is a *step*; each resumption of a coroutine is one. A life of the daemon
can be ended before any step: the loop is left at once, and nothing of that life runs again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from heapq import heappop, heappush
from typing import Any, TypeVar

from simulation.agenda import Agenda

T = TypeVar("T")


class Crash(BaseException):
    """The process is gone. No ``except Exception`` stops it; no ``finally`` runs for it."""


class Stuck(AssertionError):
    """The daemon waits for ever, with nothing ready and nothing due, or is busy for ever."""


class _Call:
    """Something to be run once by the loop."""

    __slots__ = ("args", "callback", "context")

    def __init__(
        self, callback: Callable[..., object] | None, args: tuple[Any, ...], context: Context
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context

    def cancel(self) -> None:
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.callback is None


class _Timer(_Call):
    """The same at a moment of the loop's time."""

    __slots__ = ("_when",)

    def __init__(
        self, when: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context
    ) -> None:
        super().__init__(callback, args, context)
        self._when = when

    def when(self) -> float:
        return self._when


class VirtualLoop(asyncio.AbstractEventLoop):
    """The loop of one life. It keeps all its tasks, so that none is ended by being forgotten."""

    def __init__(
        self,
        agenda: Agenda,
        *,
        ends_before: int | None = None,
        watch: Callable[[int], None] | None = None,
        idle: Callable[[], None] | None = None,
    ) -> None:
        """Make the loop of a life that ends before the step ``ends_before`` is taken.

        ``watch`` sees each step's number before it is taken, ``idle`` is called whenever nothing
        is left to do at this moment.
        """
        self.agenda = agenda
        self.steps = 0
        self.tasks: list[asyncio.Task[Any]] = []
        self.complaints: list[dict[str, Any]] = []
        self.outside = 0  # how often the world outside went on, or a file was touched
        self._asleep = 0.0  # seconds for which this machine was suspended: its clock stood still
        self._ends_before = ends_before
        self._watch = watch
        self._idle = idle
        self._ready: deque[_Call] = deque()
        self._timers: list[tuple[float, int, _Timer]] = []
        self._asked = 0
        self._running = False
        self._stopped = False
        self._rested_at = 0  # the step before which time last passed

    # --- time and turns ---------------------------------------------------------------------------

    def time(self) -> float:
        """Return the machine's monotonic time."""
        return self.agenda.now - self._asleep

    def sleep_through(self, seconds: float) -> None:
        """Suspend this machine: the world goes on, its monotonic clock does not."""
        self.agenda.run_until(self.agenda.now + seconds)
        self._asleep += seconds

    def run_until_complete(self, future: Any) -> Any:
        """Run to the end of ``future``, or to the step before which this life ends."""
        main = self.create_task(future, name="daemon")
        outer = asyncio._get_running_loop()  # another history may be played inside of one's step
        asyncio._set_running_loop(self)
        self._running = True
        try:
            while not (main.done() or self._stopped):
                self._turn()
        finally:
            self._running = False
            asyncio._set_running_loop(outer)
        return main.result() if main.done() else None

    def stop(self) -> None:
        """Leave after this turn, whatever is unfinished."""
        self._stopped = True

    def forget(self) -> None:
        """Let go of everything that was left when this life ended."""
        for task in self.tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined] # it is meant to be so
        self.tasks.clear()
        self._ready.clear()
        self._timers.clear()

    def _turn(self) -> None:
        ready, timers = self._ready, self._timers
        if not ready:
            if self._idle is not None:
                self._idle()
                if self._stopped:
                    return
            self._go_on()
        now = self.time() + _RESOLUTION
        while timers and timers[0][0] <= now:
            timer = heappop(timers)[2]
            if timer.callback is not None:
                ready.append(timer)
        watch, last = self._watch, self._ends_before
        if self.steps - self._rested_at > _BUSY:
            raise Stuck(f"{_BUSY} steps without a pause: it is busy with nothing")
        for _ in range(len(ready)):
            call = ready.popleft()
            if call.callback is None:
                continue
            self.steps += 1
            if watch is not None:
                watch(self.steps)
            if self.steps == last:
                raise Crash(self.steps)
            call.context.run(call.callback, *call.args)

    def _go_on(self) -> None:
        """Let the world outside go on until something is to be done here."""
        timers, agenda = self._timers, self.agenda
        while timers and timers[0][2].callback is None:
            heappop(timers)
        ours = timers[0][0] + self._asleep if timers else None
        theirs = agenda.next_at
        if ours is None and theirs is None:
            waiting = [task.get_name() for task in self.tasks if not task.done()]
            raise Stuck(f"nothing will ever happen again; waiting: {waiting}")
        when = min(t for t in (ours, theirs) if t is not None)
        if theirs is not None and theirs <= when:
            self.outside += 1
        agenda.run_until(when)
        self._rested_at = self.steps

    # --- what asyncio asks of a loop --------------------------------------------------------------

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Any:
        """Run something at the next turn."""
        call = _Call(callback, args, copy_context() if context is None else context)
        self._ready.append(call)
        return call

    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> Any:
        """Run something so many seconds from now."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> Any:
        """Run something at a moment of the loop's time."""
        timer = _Timer(when, callback, args, copy_context() if context is None else context)
        self._asked += 1
        heappush(self._timers, (when, self._asked, timer))
        return timer

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future."""
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        """Make a task, and keep it."""
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context)
        self.tasks.append(task)
        if len(self.tasks) > _KEPT:
            self.tasks = [each for each in self.tasks if not each.done()]
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> Any:
        """Do what a thread would do, in a step of its own."""
        future = self.create_future()
        self.call_soon(self._do, future, func, args)
        return future

    def _do(
        self, future: asyncio.Future[Any], func: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        self.outside += 1
        if future.cancelled():
            return
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the one who waits gets it
            future.set_exception(error)
        else:
            future.set_result(result)

    def get_debug(self) -> bool:
        """Debug nothing."""
        return False

    def is_running(self) -> bool:
        """Tell whether it runs."""
        return self._running

    def is_closed(self) -> bool:
        """Stay open."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep a complaint for whoever looks."""
        self.complaints.append(context)


# Steps without a pause after which something is wrong; a day of thousands of jobs has hundreds.
_BUSY = 50_000
# Seconds: sums of times near 2e9 are rounded to 2e-7.
_RESOLUTION = 1e-6
# Tasks that are kept before those that ended are forgotten.
_KEPT = 256

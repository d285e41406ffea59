"""The login node of a virtual cluster: sessions, and the links they come over.

A session's command is a process here, and lives by its own laws: its link can go down while it
runs, and then it is hung up, or dies when it next says something, or never notices. Futures and
links belong to one life of the daemon, so they are not copied with the virtual world.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from benchd.edge.shell import Completed
from benchd.edge.wire import NothingRan
from benchd.errors import Unreachable
from simulation.bash import Bash
from simulation.phrases import BOOK
from simulation.process import Process, Step
from simulation.wires import VirtualWire

if TYPE_CHECKING:
    from simulation.site import Site

# Seconds in which a silent link is found dead: keepalives of OpenSSH's and ours.
KEEPALIVE = 45.0
# Seconds by which we wait longer than the far side's own limit.
GRACE = 15.0
# sshd's MaxSessions.
MAX_SESSIONS = 10


@dataclass(slots=True, kw_only=True)
class Session:
    """One command that was sent."""

    number: int
    link: int
    steps: tuple[Step, ...]
    stdin: bytes
    seconds: float
    limit: int
    started_at: float = 0.0
    process: Process | None = None
    future: asyncio.Future[Completed] | None = None
    is_lost: bool = False  # it never arrives
    is_attended: bool = True  # somebody waits for its answer

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "future"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self.future = None

    def settle(self, answer: Completed | Exception) -> None:
        """Let who waits know."""
        self.is_attended = False
        future, self.future = self.future, None
        if future is None or future.done():
            return
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def refuse(self, *, is_full: bool) -> None:
        """Say that no session is opened."""
        self.settle(NothingRan("open failed", is_full=is_full))


class LoginNode:
    """Where commands run."""

    def __init__(self, site: Site, rng: Random) -> None:
        self._site = site
        self._rng = rng
        self._sessions: dict[int, Session] = {}
        self._wires: dict[int, VirtualWire] = {}
        self._count = 0
        self.down_until = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_wires": {}}

    @property
    def is_down(self) -> bool:
        """Nobody reaches it."""
        return self._site.agenda.now < self.down_until

    # --- links ----------------------------------------------------------------------------------

    def accept(self, lost: Callable[[Exception | None], None]) -> VirtualWire:
        """Open a connection."""
        self._count += 1
        wire = self._wires[self._count] = VirtualWire(self._site, self, self._count, lost)
        return wire

    def sever(self, link: int, why: str) -> None:
        """Let a link go down: who waits for an answer gets none."""
        wire = self._wires.pop(link, None)
        for session in list(self._sessions.values()):
            if session.link == link:
                self._abandon(session, why)
        if wire is not None:
            wire.closed = True
            wire.lost(ConnectionError(why))

    def daemon_died(self) -> None:
        """Let every link go down, as when the machine at its other end kills the process."""
        for session in list(self._sessions.values()):
            if session.is_attended:
                session.future = None
                self._abandon(session, "")
        for wire in self._wires.values():
            wire.closed = True
        self._wires.clear()

    def _abandon(self, session: Session, why: str) -> None:
        """Leave a command to itself: what becomes of it is drawn."""
        session.settle(Unreachable(f"{self._site.name}: the link broke: {why}"))
        rng, process = self._rng, session.process
        if process is None:  # it is still on its way
            session.stdin = session.stdin[: rng.choice((0, len(session.stdin) // 2, None))]
            if session.is_lost or rng.random() < 0.5:
                del self._sessions[session.number]
            return
        self._unplug(session)

    def _unplug(self, session: Session) -> None:
        """Take away from a process the link that it was started over."""
        process, rng = session.process, self._rng
        assert process is not None
        if rng.random() < self._site.faults.hangup:
            self._site.struck["hangup"] += 1
            self._end(session)
        elif isinstance(process.runner, Bash):
            # A dead sshd closes the pipes; a live one that does not know yet keeps them open.
            process.runner.pipe_is_broken = rng.random() < 0.5

    def cancelled(self, session: Session) -> None:
        """Close a session's channel, because nobody waits any more."""
        session.is_attended, session.future = False, None
        process = session.process
        if process is not None and isinstance(process.runner, Bash):
            process.runner.pipe_is_broken = True

    # --- sessions -------------------------------------------------------------------------------

    def open(
        self, link: int, command: str, *, stdin: bytes, seconds: float, limit: int
    ) -> tuple[Session, asyncio.Future[Completed]]:
        """Send a command; the answer comes with the future."""
        site, rng = self._site, self._rng
        steps = site.understand(BOOK, command)
        self._count += 1
        future: asyncio.Future[Completed] = asyncio.get_running_loop().create_future()
        session = Session(
            number=self._count,
            link=link,
            steps=steps,
            stdin=stdin,
            seconds=seconds,
            limit=limit,
            future=future,
        )
        latency = rng.uniform(0.005, 0.05)
        open_now = sum(s.link == link and s.is_attended for s in self._sessions.values())
        site.sessions_peak = max(site.sessions_peak, open_now + 1)
        if open_now >= MAX_SESSIONS:
            site.agenda.after(latency, partial(session.refuse, is_full=True))
            return session, future
        if site.faults.refused and rng.random() < site.faults.refused:
            site.struck["refused"] += 1
            site.agenda.after(latency, partial(session.refuse, is_full=rng.random() < 0.5))
            return session, future
        self._sessions[session.number] = session
        site.agenda.after(latency, partial(self._arrive, session.number))
        return session, future

    def _arrive(self, number: int) -> None:
        session = self._sessions.get(number)
        site, rng, faults = self._site, self._rng, self._site.faults
        if session is None:
            return
        if self.is_down:
            session.is_lost = True  # who waits for it hears that when the link is found dead
            return
        delay = 0.001
        if faults.slow_shell and rng.random() < faults.slow_shell:
            site.struck["slow_shell"] += 1
            delay = rng.uniform(0.5, 40.0)
        stdin, is_cut = session.stdin, False
        if stdin and session.is_attended and faults.cut_stdin and rng.random() < faults.cut_stdin:
            site.struck["cut_stdin"] += 1
            stdin, is_cut = stdin[: rng.randrange(len(stdin) + 1)], True
        sh = Bash(site.disk, site, site.now, stdin=stdin, home=site.home, pid=number)
        sh.stack.extend(session.steps)
        strike = self._draw_strike(session) if session.is_attended else None
        session.process = Process(
            site.agenda,
            sh,
            partial(self._ended, number),
            strike_at=strike[0] if strike else None,
            strike=strike[1] if strike else None,
        )
        session.started_at = site.agenda.now
        session.process.start(delay)
        site.agenda.after(session.seconds, partial(self._time_over, number))
        if not session.is_attended:
            self._unplug(session)
        elif is_cut:
            self.sever(session.link, "connection reset while data was sent")

    def _draw_strike(self, session: Session) -> tuple[int, Callable[[], None]] | None:
        """Draw before which step a command is killed, or its link is cut, if it is."""
        rng, faults = self._rng, self._site.faults
        for name, act in (("killed", self._killed), ("cut", self._cut)):
            chance = getattr(faults, name)
            if chance and rng.random() < chance:
                # A submission has about 45 steps, most others a few.
                step = rng.randrange(rng.choice((6, 50)))
                return step, partial(act, session.number)
        return None

    def _killed(self, number: int) -> None:
        session = self._sessions[number]
        self._site.struck["killed"] += 1
        session.settle(Unreachable(f"{self._site.name}: did not say how the command ended"))
        self._end(session)

    def _cut(self, number: int) -> None:
        self._site.struck["cut"] += 1
        self.sever(self._sessions[number].link, "connection reset")

    def _time_over(self, number: int) -> None:
        session = self._sessions.get(number)
        if session is None:
            return
        self._site.struck["time_over"] += 1
        session.settle(
            Unreachable(f"{self._site.name}: stopped on the login node after {session.seconds:g} s")
        )
        self._end(session)

    def _end(self, session: Session) -> None:
        """Kill a session's processes."""
        if session.process is not None:
            session.process.kill()
        self._sessions.pop(session.number, None)

    def _ended(self, number: int, status: int) -> None:
        """Send a command's answer, unless that gets lost."""
        session = self._sessions.pop(number)
        site, rng, faults = self._site, self._rng, self._site.faults
        if not session.is_attended:
            return
        assert session.process is not None
        sh = session.process.runner
        assert isinstance(sh, Bash)
        latency = rng.uniform(0.005, 0.05)
        answer: Completed | Exception
        if (faults.lost_answer and rng.random() < faults.lost_answer) or self.is_down:
            site.struck["lost_answer"] += 1
            answer = Unreachable(f"{site.name}: did not say how the command ended")
            latency = rng.choice((latency, session.seconds + GRACE))
        else:
            answer = Completed(
                status=status,
                stdout=bytes(sh.out[: session.limit]),
                stderr=bytes(sh.err[: session.limit]),
                seconds=site.agenda.now - session.started_at,
                truncated=len(sh.out) > session.limit or len(sh.err) > session.limit,
            )
        session.process = None
        site.agenda.after(latency, partial(session.settle, answer))

    # --- outages --------------------------------------------------------------------------------

    def go_down(self, seconds: float, *, reboot: bool) -> None:
        """Be out of reach for so long; after a reboot nothing of before runs any more."""
        self._site.struck["reboot" if reboot else "outage"] += 1
        self.down_until = max(self.down_until, self._site.agenda.now + seconds)
        if reboot:
            for session in list(self._sessions.values()):
                if session.process is not None:
                    session.process.kill()
        for link in list(self._wires):
            after = 0.1 if reboot else KEEPALIVE
            self._site.agenda.after(after, partial(self.sever, link, "keepalive timeout"))

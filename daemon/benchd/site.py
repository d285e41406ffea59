"""Everything about one cluster that lives in this process, and what people are told about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil

from benchd.api.control import ClusterStatus
from benchd.edge.breaker import Breaker, Circuit
from benchd.edge.cluster import Cluster
from benchd.edge.shell import LinkReport, Shell
from benchd.pacing import Pacing


@dataclass(slots=True)
class Site:
    """One cluster: the way to it, what is asked of it, and when."""

    name: str
    shell: Shell
    cluster: Cluster
    pacing: Pacing
    facts: dict[str, str] = field(default_factory=dict)

    def status(self, now: float) -> ClusterStatus:
        """Return how the cluster is doing, at once and without asking it."""
        pacing, purse = self.pacing, self.cluster.remote.purse
        link = self.shell.report()
        rpcs, submits = purse.used()
        since = _unreachable_since(pacing, link, now)
        sentence, at = outlook(self, link, now)
        return ClusterStatus(
            name=self.name,
            link="paused" if pacing.paused else link.state,
            detail=self.trouble(link),
            paused=pacing.paused is not None,
            circuit_open=self.circuit.state is not Circuit.CLOSED,
            circuit=self.circuit.state,
            unreachable_since=since,
            next=sentence,
            next_at=at,
            last_poll_at=pacing.last_poll_at,
            next_poll_at=pacing.view().next_poll_at,
            poll_interval=pacing.interval,
            budget_tokens=purse.tokens,
            rpcs_used=rpcs,
            rpcs_per_minute=purse.limits.rpc_per_minute,
            submits_used=submits,
            submits_per_minute=purse.limits.submits_per_minute,
            logins=link.logins,
            logins_today=link.logins_today,
            logins_per_day=link.logins_per_day,
            channels=link.channels,
            channel_limit=link.channel_limit,
        )

    @property
    def circuit(self) -> Breaker:
        """Of the ways to it, the one that waits longest."""
        return max(self.cluster.breakers, key=lambda b: (b.state is not Circuit.CLOSED, b.wait))

    def trouble(self, link: LinkReport | None = None) -> str:
        """Return why the cluster cannot be worked with now, in a sentence; empty when it can."""
        link = link or self.shell.report()
        if self.pacing.paused:
            return self.pacing.paused
        if self.pacing.failing_since is not None:
            return self.pacing.trouble
        return f"{self.name}: {link.trouble}" if link.down_for is not None else ""

    def resume(self) -> None:
        """Go on whatever stood in the way: a human says that it is mended."""
        self.shell.resume()
        for breaker in self.cluster.breakers:
            breaker.reset()
        self.pacing.paused, self.pacing.taken_over = None, False
        self.pacing.reached()


def _unreachable_since(pacing: Pacing, link: LinkReport, now: float) -> float | None:
    times = [] if pacing.failing_since is None else [pacing.failing_since]
    if link.down_for is not None:
        times.append(now - link.down_for)
    return min(times, default=None)


def outlook(site: Site, link: LinkReport, now: float) -> tuple[str, float | None]:
    """Say what happens next with a cluster, and when (None: when somebody or something asks)."""
    resume = f"`benchctl cluster resume {site.name}`"
    if site.pacing.paused or link.state == "paused":
        return f"nothing is sent until {resume}", None
    if link.state == "connecting":
        return "logging in now", now
    circuit, login = site.circuit.wait, link.next_login_in or 0.0
    quiet = site.pacing.quiet_until - now
    wait = max(circuit, login, quiet)
    if wait <= 0:
        return _idle(site, link, now)
    at = now + wait
    if link.resting and login >= max(circuit, quiet):
        why = f"{link.resting}; {resume} allows one at once"
        return f"left alone until {moment(at, now)}: {why}", at
    if circuit >= max(login, quiet):
        return f"left alone until {moment(at, now)}, then one try", at
    what = "next login attempt" if link.state == "down" else "asked again"
    return f"{what} in {ceil(wait)} s", at


def _idle(site: Site, link: LinkReport, now: float) -> tuple[str, float | None]:
    poll_at = site.pacing.next_poll_at
    if poll_at > now:
        what = "next login attempt" if link.state == "down" else "next poll"
        return f"{what} in {ceil(poll_at - now)} s if jobs are live", poll_at
    if link.down_for is not None:
        return "next login attempt as soon as there is something to ask", None
    return ("asked again now", now) if site.pacing.failing_since is not None else ("", None)


def moment(at: float, now: float) -> str:
    """Write a moment as people on this machine would: the time, with the day if it is not today."""
    then, today = datetime.fromtimestamp(at).astimezone(), datetime.fromtimestamp(now).astimezone()
    seconds = "%H:%M:%S" if at - now < timedelta(hours=1).total_seconds() else "%H:%M"
    return then.strftime(seconds if then.date() == today.date() else f"%a {seconds}")

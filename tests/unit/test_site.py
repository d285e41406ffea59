"""What people are told about a cluster: since when, why, and what happens next."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from benchd.api.views import run_trouble
from benchd.cli.clusters import outlook as shown
from benchd.cli.follow import ANSWERS, changes, trouble
from benchd.config import Budget, PollSettings
from benchd.core.model import RunOutcome
from benchd.edge.breaker import Breaker
from benchd.edge.budget import Purse
from benchd.edge.shell import LinkReport
from benchd.errors import Unreachable
from benchd.metrics import Metrics
from benchd.pacing import Pacing
from benchd.site import Site, moment
from support.builders import run

NOW = 1_700_000_000.0
UP = LinkReport(state="up", logins=1, logins_today=3, logins_per_day=60, channel_limit=5)
DOWN = replace(UP, state="down", trouble="closed by the login node", down_for=90.0)


@dataclass
class FakeShell:
    """A way to a cluster that is as it is told to be."""

    now: LinkReport = UP
    resumed: int = 0

    def report(self) -> LinkReport:
        """Return how it is."""
        return self.now

    def resume(self) -> None:
        """Count."""
        self.resumed += 1


@dataclass
class FakeRemote:
    """The real budgets, on a clock that stands."""

    time: list[float] = field(default_factory=lambda: [0.0])

    def __post_init__(self) -> None:
        metrics, clock = Metrics(), lambda: self.time[0]
        self.purse = Purse("alpha", Budget(), metrics=metrics, clock=clock)
        self.breaker = Breaker("alpha", metrics=metrics, clock=clock)


@dataclass
class FakeCluster:
    """Only what status needs."""

    remote: FakeRemote = field(default_factory=FakeRemote)

    @property
    def breakers(self) -> tuple[Breaker, ...]:
        """The ways to it: one."""
        return (self.remote.breaker,)


def site(link: LinkReport = UP, **pacing: Any) -> Site:
    """Return a cluster whose link and rhythm are as said."""
    rhythm = Pacing("alpha", PollSettings())
    for name, value in pacing.items():
        setattr(rhythm, name, value)
    shell, cluster = cast("Any", FakeShell(link)), cast("Any", FakeCluster())
    return Site(name="alpha", shell=shell, cluster=cluster, pacing=rhythm)


def trip(of: Site) -> None:
    """Let the circuit open."""
    for _ in range(5):
        with pytest.raises(Unreachable), of.cluster.remote.breaker.guard("poll"):
            raise Unreachable("gone")


@pytest.mark.parametrize(
    ("link", "pacing", "said"),
    [
        (UP, {}, ""),
        (UP, {"next_poll_at": NOW + 22.5}, "next poll in 23 s if jobs are live"),
        (UP, {"quiet_until": NOW + 5}, "asked again in 5 s"),
        (UP, {"failing_since": NOW - 5}, "asked again now"),
        (replace(UP, state="connecting"), {}, "logging in now"),
        (replace(UP, state="down"), {}, ""),
        (DOWN, {}, "next login attempt as soon as there is something to ask"),
        (DOWN, {"next_poll_at": NOW + 30}, "next login attempt in 30 s if jobs are live"),
        (replace(DOWN, next_login_in=40.0), {}, "next login attempt in 40 s"),
        (replace(DOWN, next_login_in=4.0), {"quiet_until": NOW + 9}, "next login attempt in 9 s"),
        (UP, {"paused": "by hand"}, "nothing is sent until `benchctl cluster resume alpha`"),
        (
            replace(UP, state="paused"),
            {},
            "nothing is sent until `benchctl cluster resume alpha`",
        ),
        (
            replace(DOWN, next_login_in=7200.0, resting="60 logins in 24 hours are the limit"),
            {},
            (
                f"left alone until {moment(NOW + 7200, NOW)}: 60 logins in 24 hours are the limit; "
                "`benchctl cluster resume alpha` allows one at once"
            ),
        ),
    ],
)
def test_what_is_next_is_said_in_a_sentence(
    link: LinkReport, pacing: dict[str, Any], said: str
) -> None:
    """Whichever of link, rhythm and human holds the cluster up longest is named."""
    assert said == site(link, **pacing).status(NOW)["next"]


def test_an_open_circuit_is_what_is_waited_for() -> None:
    """A cluster that is left alone says until when, and that one try follows."""
    told = site(replace(DOWN, next_login_in=5.0))
    trip(told)
    seen = told.status(NOW)
    assert f"left alone until {moment(NOW + 60, NOW)}, then one try" == seen["next"]
    assert (True, "open", NOW + 60) == (seen["circuit_open"], seen["circuit"], seen["next_at"])


@pytest.mark.parametrize(
    ("link", "pacing", "since", "why"),
    [
        (UP, {}, None, ""),
        (DOWN, {}, NOW - 90, "alpha: closed by the login node"),
        (DOWN, {"failing_since": NOW - 70, "trouble": "no login"}, NOW - 90, "no login"),
        (UP, {"failing_since": NOW - 7, "trouble": "squeue failed"}, NOW - 7, "squeue failed"),
    ],
)
def test_since_when_is_the_first_failure(
    link: LinkReport, pacing: dict[str, Any], since: float | None, why: str
) -> None:
    """The link's loss or the first failed question, whichever came first, and its words."""
    seen = site(link, **pacing).status(NOW)
    assert (since, why) == (seen["unreachable_since"], seen["detail"])


def test_a_human_ends_every_wait() -> None:
    """A resume clears the pause, the back-off and the circuit, and tells the link."""
    told = site(DOWN, paused="refused", quiet_until=NOW + 99, failing_since=NOW)
    trip(told)
    told.resume()
    assert (None, 0.0, None, "closed", 1) == (
        told.pacing.paused,
        told.pacing.quiet_until,
        told.pacing.failing_since,
        told.cluster.remote.breaker.state,
        cast("Any", told.shell).resumed,
    )


def test_a_moment_of_another_day_names_the_day() -> None:
    """Far moments are told in minutes and with their day, near ones to the second."""
    assert [8, 9] == [len(moment(NOW + 60, NOW)), len(moment(NOW + 36 * 3600, NOW))]


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        ({}, "next poll in 5 s"),
        (
            {"unreachable_since": NOW - 180, "detail": "gone"},
            "no answer for 3m: gone; next poll in 5 s",
        ),
        ({"paused": True, "detail": "x; then `benchctl cluster resume a`"}, None),
    ],
)
def test_the_table_says_it_in_one_cell(cluster: dict[str, Any], said: str | None) -> None:
    """Since when, why, what next; and the command that resumes it once only."""
    quiet = {"unreachable_since": None, "detail": "", "next": "next poll in 5 s", "paused": False}
    assert (said or cluster["detail"]) == shown({**quiet, **cluster}, NOW)


def test_a_run_knows_of_the_trouble_of_its_cluster() -> None:
    """While a run goes on, it carries its own cluster's silence, and no other's."""
    silent = site(replace(DOWN, next_login_in=40.4)).status(NOW)
    mine = run(cluster="alpha")
    told = run_trouble(mine, [silent])
    assert {
        "cluster": "alpha",
        "since": NOW - 90,
        "why": "alpha: closed by the login node",
        "next_at": round(NOW + 40.4),
    } == told
    others = (replace(mine, cluster="beta"), replace(mine, outcome=RunOutcome.PASSED))
    assert [None, None] == [run_trouble(each, [silent]) for each in others]
    assert run_trouble(mine, [site().status(NOW)]) is None


def test_watch_says_when_the_cluster_falls_silent_and_when_it_is_back() -> None:
    """One line for the beginning and one for the end of the silence."""
    view: dict[str, Any] = {
        "id": "r1",
        "job_list": [],
        "outcome": None,
        "phase": "created",
        "why": None,
        "measurements": {"done": 0, "total": 1},
    }
    gone = {"cluster": "alpha", "since": NOW - 60, "why": "no route", "next_at": NOW + 40}
    before: dict[str, str] = {}
    changes({**view, "trouble": None}, before)
    first = changes({**view, "trouble": gone}, before)
    again = changes({**view, "trouble": {**gone, "next_at": NOW + 80}}, before)
    back = changes({**view, "trouble": None}, before)
    assert "no answer from alpha for 1m: no route; next try in 40 s" == trouble(gone, NOW)
    assert ([True], [], [ANSWERS]) == (["no route" in line for line in first], again, back)

"""Every scenario: its story, the stage it wants, whether every run of the tests tells it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from support.realslurm import RealSlurm
from torture import faults
from torture.judge import Verdict, judge
from torture.stage import Setting, Stage

Story = Callable[[Stage], None]
# Resets need a proxy in between.
_CABLE = Setting(cable=True)
# A long queue of submissions, one every two seconds after the first five.
_QUEUE = Setting(repeat=8, concurrent=True, cluster={"budget": {"submits_per_minute": 30}})
# What Slurm forgot counts as lost after 20 s.
_FORGETS = Setting(restart="on-failure", forgets=True, cluster={"patience": "20s"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One row of the table."""

    story: Story
    setting: Setting = field(default_factory=Setting)
    needs: tuple[str, ...] = ("slurm", "sshd")
    quick: bool = False  # told in every run of the tests, in its short form

    @property
    def name(self) -> str:
        """What it is called: as its story."""
        return self.story.__name__.replace("_", "-")

    def play(self, slurm: RealSlurm, home: Path, *, seed: int, quick: bool = False) -> Verdict:
        """Tell the story once and judge it; what it could not go through with is a violation."""
        began = time.monotonic()
        with Stage(slurm, home, self.setting, seed=seed, quick=quick) as stage:
            try:
                self.story(stage)
                self._expect_the_end(stage)
            except AssertionError as error:
                stage.wrong(str(error))
            return judge(stage, self.name, seed, time.monotonic() - began)

    def _expect_the_end(self, stage: Stage) -> None:
        """Note a run that did not pass, unless Slurm forgot its jobs and the run says why."""
        run = stage.run()
        passed = run.get("outcome") == "PASSED"
        says_why = self.setting.forgets and run.get("outcome") == "FAILED" and run["why"]
        stage.expect(passed or says_why, f"the run did not pass: {run}")


# What happens to the daemon itself and on the way to the cluster.
NEAR = (
    Scenario(story=faults.killed, setting=Setting(repeat=4), quick=True),
    Scenario(story=faults.terminated, setting=_QUEUE, quick=True),
    Scenario(story=faults.terminated_while_ssh_hangs),
    Scenario(story=faults.every_submission_hurt, setting=_CABLE, quick=True),
    Scenario(story=faults.cut_when_made),
    Scenario(story=faults.cut_before_sbatch),
    Scenario(story=faults.cut_after_sbatch),
    Scenario(story=faults.frozen_in_sbatch),
    Scenario(story=faults.reset_in_sbatch, setting=_CABLE),
    Scenario(story=faults.cut_at_random, setting=Setting(repeat=4)),
    Scenario(story=faults.no_login_node),
    Scenario(story=faults.silent_login_node),
    Scenario(
        story=faults.bad_manners,
        setting=Setting(door={"MaxSessions": "2", "AllowTcpForwarding": "no"}),
        quick=True,
    ),
    Scenario(story=faults.slow_shell),
    Scenario(story=faults.rubbish),
    Scenario(story=faults.flood),
    Scenario(
        story=faults.few_sessions,
        setting=Setting(door={"MaxSessions": "2"}, repeat=6, concurrent=True),
    ),
    Scenario(story=faults.no_forwarding, setting=Setting(door={"AllowTcpForwarding": "no"})),
    Scenario(story=faults.taken_startups, setting=Setting(door={"MaxStartups": "1"})),
    Scenario(story=faults.keys, quick=True),
    Scenario(story=faults.key_revoked),
    Scenario(story=faults.host_key_changed),
)
# What happens to Slurm and to the disk, and everything together.
FAR = (
    Scenario(
        story=faults.controller_stalled,
        setting=Setting(slurm_conf={"MessageTimeout": "3"}),
        quick=True,
    ),
    Scenario(story=faults.controller_restarted),
    Scenario(story=faults.no_accounting, quick=True),
    Scenario(story=faults.purged),
    Scenario(story=faults.controller_killed, setting=_FORGETS),
    Scenario(story=faults.cold_start, setting=_FORGETS),
    Scenario(story=faults.full_disk, needs=("slurm", "sshd", "tmpfs"), quick=True),
    Scenario(story=faults.read_only, needs=("slurm", "sshd", "tmpfs")),
    Scenario(story=faults.damaged),
    Scenario(story=faults.everything, setting=Setting(repeat=6)),
)

SCENARIOS = (*NEAR, *FAR)

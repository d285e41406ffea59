"""``benchd check``: everything that a first run would stumble over, and how to mend it.

The last look is a tiny job: it proves that a compute node sees the work directory, and that of two
contenders exactly one wins ``ln -sT`` there. The promise that no job runs twice rests on both.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import AsyncIterator
from shlex import quote

from benchd.cli.check_rest import RestLook
from benchd.cli.findings import Finding, summary
from benchd.cli.tables import show
from benchd.config import ClusterSettings, RuntimeSettings, Settings
from benchd.core import containers
from benchd.core.script import sbatch_lines
from benchd.core.slurm import read_config, reason_class
from benchd.core.slurm_reasons import ReasonClass
from benchd.core.slurm_versions import Known, known, read_version
from benchd.edge import keys, login
from benchd.edge.home import shell_word
from benchd.edge.link import Link
from benchd.edge.local import LocalShell
from benchd.edge.shell import Completed, Shell, printable
from benchd.errors import NeedsHuman, Unreachable
from benchd.fields import Resources
from benchd.metrics import Metrics

OK, NO = 0, 1
ANSWER = 30.0  # seconds for one command; a login node in trouble answers within ten
SBATCH = 150.0  # seconds for sbatch: a busy controller may take two minutes
BRIEF = "00:02:00"  # asked for where the cluster has no default; it takes a second
LOOK = 1.0  # seconds between two looks for the tiny job's answer
ROUNDS = 50  # times that two contenders race for one name
NEEDED = ("sbatch", "squeue", "scancel")
# How a version of Slurm is known -> level, and what is said after its name.
_KNOWN = {
    Known.RUN: ("ok", ""),
    Known.READ: ("ok", ": benchd's tests do not run this release, but its source was compared"),
    Known.NEWER: ("ok", ": newer than what benchd's tests know"),
    Known.OLDER: ("warn", " is older than what benchd needs: 20.11"),
    Known.UNKNOWN: ("warn", ": no version of Slurm"),
}
_COLOURED = {"ok": "ok", "warn": "warn", "fail": "FAIL"}

_JOB = """\
set -u
cd "$1" || exit 78
race() {{
  for i in $(seq {rounds}); do
    ln -sT "$1" "claim-$i" 2>/dev/null && echo "$i" >> "won-$1"
  done
}}
race a & race b & wait
won=$(cat won-a won-b 2>/dev/null | sort -n | uniq | wc -l)
all=$(cat won-a won-b 2>/dev/null | wc -l)
{module}
runtime={runtime}
if [ -n "$runtime" ]; then
  where=$(command -v "$runtime" 2>/dev/null) || where=missing
else
  where=none
fi
printf '%s %s %s %s\\n' "$(hostname)" "$won" "$all" "$where" > answer.tmp
mv answer.tmp answer
"""


async def check_all(
    settings: Settings, *, only: str | None, with_job: bool, patience: float
) -> int:
    """Look at everything, print the table; 1 if anything fails."""
    findings = [
        ("", Finding("ok", "configuration", f"clusters: {', '.join(settings.clusters) or 'none'}"))
    ]
    findings += [("", finding) for finding in _state(settings)]
    if only is not None and only not in settings.clusters:
        known = ", ".join(settings.clusters) or "none"
        findings.append((only, Finding("fail", "cluster", f"not configured; there are: {known}")))
    if not settings.clusters:
        findings.append(("", Finding("fail", "clusters", "write one under clusters:")))
    for name, cluster in settings.clusters.items():
        if only in {None, name}:
            checks = Checks(name, cluster, with_job=with_job, patience=patience)
            findings += [(name, finding) async for finding in checks.run()]
    show(
        ("", "cluster", "what", "found"),
        [(_COLOURED[f.verdict], name, f.what, f.detail) for name, f in findings],
        out=sys.stdout,
        prose=(3,),
        spare=(1,),
    )
    print(f"\n{summary(findings)}")
    return NO if any(finding.verdict == "fail" for _, finding in findings) else OK


def _state(settings: Settings) -> list[Finding]:
    """Look whether the state directory can be made and written to."""
    from benchd.places import state_dir_of  # noqa: PLC0415 -- only this needs it

    place = state_dir_of(settings)
    trial = place / f".check-{secrets.token_hex(4)}"
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        trial.write_text("benchd", encoding="ascii")
        trial.unlink()
    except OSError as error:
        fix = f"cannot write to {place}: {error.strerror}: set state_dir to another"
        return [Finding("fail", "state directory", fix)]
    return [Finding("ok", "state directory", str(place))]


class Checks:
    """The looks at one cluster, in the order in which they depend on each other."""

    def __init__(
        self, name: str, settings: ClusterSettings, *, with_job: bool, patience: float
    ) -> None:
        self.name = name
        self.settings = settings
        self.with_job = with_job
        self.patience = patience
        self.workdir = ""
        metrics = Metrics()
        self.shell: Shell = (
            LocalShell(name, metrics=metrics)
            if settings.ssh is None
            else Link(name, settings, metrics=metrics, once=True)
        )
        rest = settings.rest is not None
        self.rest = RestLook(name, settings, self.shell, metrics) if rest else None

    async def run(self) -> AsyncIterator[Finding]:
        """Yield finding after finding; stop where the rest would only repeat the same trouble."""
        needed = [self.key, self.login]
        needed += [self.slurm] if self.rest is None else [self.rest.token, self.rest.slurmrestd]
        looks = [*needed, *([self.site, self.partition] if self.rest is None else []), self.place]
        looks += [self.job] if self.with_job else [self.runtime]
        try:
            for look in looks:
                finding = await look()
                if finding is not None:
                    yield finding
                    if finding.verdict == "fail" and look in needed:
                        return
        except Unreachable as error:
            yield Finding("fail", "connection", f"lost while looking: {error}")
        finally:
            await self.shell.close()

    async def _ask(self, command: str, *, stdin: bytes = b"", seconds: float = ANSWER) -> Completed:
        return await self.shell.run(command, op="check", stdin=stdin, timeout=seconds)

    async def key(self) -> Finding | None:
        """Look at the key and the known hosts: there, readable, closed to others, a key at all."""
        if self.settings.ssh is None:
            return None
        try:
            return Finding("ok", "key", keys.check(self.settings.ssh))
        except login.Unusable as error:
            return Finding("fail", "key", str(error))

    async def login(self) -> Finding:
        """Log in: the host key is compared, the one key is offered."""
        started = time.monotonic()
        try:
            done = await self._ask("hostname; bash --version | head -1")
        except NeedsHuman as error:
            return Finding("fail", "login", str(error))
        except Unreachable as error:
            fix = "are ssh.host and ssh.port right, and is the network up?"
            return Finding("fail", "login", f"{error}: {fix}")
        said = printable(done.stdout.splitlines()[0] if done.stdout else b"")
        what = "local" if self.settings.ssh is None else "login"
        return Finding("ok", what, f"{said}, {time.monotonic() - started:.2f} s")

    async def slurm(self) -> Finding:
        """Look for Slurm's commands and its version."""
        words = " ".join(NEEDED)
        done = await self._ask(f"for c in {words}; do command -v $c >/dev/null || echo $c; done")
        missing = printable(done.stdout)
        if missing:
            fix = f"{missing} not found: is this a login node? is Slurm in PATH of a login shell?"
            return Finding("fail", "slurm", fix)
        done = await self._ask("sbatch --version")
        said = printable(done.stdout)
        level, comment = _KNOWN[known(read_version(said))]
        return Finding(level, "slurm", f"{said}{comment}")

    async def site(self) -> Finding:
        """Compare the site's settings with ours."""
        done = await self._ask("scontrol show config")
        if done.status != 0:
            return Finding("warn", "site", f"scontrol show config: {done.said()}")
        site = read_config(done.stdout.decode(errors="replace"))
        if site.message_timeout > self.settings.message_timeout:
            wait = f"{site.message_timeout:.0f}"
            fix = f"MessageTimeout is {wait} s: set message_timeout: {wait}s"
            return Finding("warn", "site", fix)
        if not site.accounting and site.min_job_age < 2 * self.settings.poll.interval:
            fix = (
                f"no accounting, and MinJobAge is {site.min_job_age:.0f} s: benchd will learn of "
                "ends from exit.json; a poll.interval below half of it is surer"
            )
            return Finding("warn", "site", fix)
        books = "accounting" if site.accounting else "no accounting"
        limits = ", limits calls (rl_enable)" if site.rate_limited else ""
        return Finding("ok", "site", f"{printable(site.cluster) or '?'}, {books}{limits}")

    async def partition(self) -> Finding | None:
        """Look whether the default partition is there."""
        wanted = self.settings.defaults.partition
        done = await self._ask("sinfo -h -o %R")
        known = sorted({printable(line) for line in done.stdout.splitlines()})
        if done.status != 0:
            return Finding("warn", "partition", f"sinfo: {done.said()}")
        if wanted is None:
            return Finding("ok", "partition", f"the site's default; there are: {', '.join(known)}")
        missing = [name for name in wanted.split(",") if name not in known]
        if missing:
            fix = f"no partition {', '.join(missing)}; there are: {', '.join(known)}"
            return Finding("fail", "partition", fix)
        return Finding("ok", "partition", wanted)

    async def place(self) -> Finding:
        """Make the work directory and write to it."""
        word = shell_word(self.settings.workdir)
        trial = f".check-{secrets.token_hex(4)}"
        done = await self._ask(
            f"mkdir -p -- {word} && cd -- {word} && : > {trial} && rm {trial} && pwd -P && "
            "stat -f -c %T ."
        )
        if done.status != 0:
            fix = f"{self.settings.workdir}: {done.said()}: set workdir to a shared directory"
            return Finding("fail", "workdir", fix)
        lines = [printable(line) for line in done.stdout.splitlines()]
        self.workdir = lines[0]
        if lines[-1] in {"tmpfs", "overlayfs", "ramfs"}:
            text = f"{self.workdir} is on {lines[-1]}: do compute nodes see it?"
            return Finding("warn", "workdir", text)
        return Finding("ok", "workdir", f"{self.workdir} ({lines[-1]})")

    async def runtime(self) -> Finding | None:
        """Look for the container runtime on the login node, for want of a job."""
        runtime = self.settings.runtime
        if runtime.name == "none":
            return None
        program = containers.program(runtime)
        done = await self._ask(f"{_module(runtime)}; command -v {program}")
        if done.status != 0:
            text = f"{program} is not on the login node; without the job, nodes are unknown"
            return Finding("warn", "runtime", text)
        return Finding("ok", "runtime", printable(done.stdout))

    # --- the tiny job ---------------------------------------------------------------------------

    async def job(self) -> Finding | None:
        """Run the tiny job, and remove what it made whatever comes of it."""
        if not self.workdir:
            return None
        nonce = secrets.token_hex(4)
        directory, name = f"{self.workdir}/check-{nonce}", f"benchd-check-{nonce}"
        try:
            return await self._job(directory, name)
        finally:
            ours = f'scancel --user="$(id -u)" --name={name} 2>/dev/null'  # --me came with 22.05
            if self.rest is not None:
                await self.rest.end(name)
                ours = ":"
            await self._ask(f"{ours}; rm -rf -- {quote(directory)}")

    async def _job(self, directory: str, name: str) -> Finding:
        started = time.monotonic()
        if (refused := await self._refused(directory, name)) is not None:
            return Finding("fail", "job", refused)
        while True:
            seen = await self._ask(f"cat -- {quote(directory)}/answer 2>/dev/null")
            waited = time.monotonic() - started
            if seen.status == 0:
                return self._judged(printable(seen.stdout).split(), waited)
            if (stuck := await self._stuck(name)) is not None:
                return stuck
            if waited > self.patience:
                return await self._late(directory, name)
            await asyncio.sleep(LOOK)

    async def _refused(self, directory: str, name: str) -> str | None:
        """Submit the tiny job; return why it was refused."""
        place = quote(directory)
        write = f"mkdir -- {place} && cat > {place}/script.sh"
        submit = (
            f"timeout -k 5 120 sbatch --parsable --job-name={name} --chdir={place} "
            f"--output={place}/out --export=NONE {place}/script.sh {place}"
        )
        command = write if self.rest is not None else f"{write} && {submit}"
        done = await self._ask(command, stdin=self._script().encode(), seconds=SBATCH)
        if done.status != 0:
            return f"sbatch refused it: {done.said()}"
        if self.rest is not None:
            return await self.rest.submit(directory, name, self._script()) or None
        return None

    async def _queued(self, name: str) -> str:
        """Return state and reason of the tiny job."""
        if self.rest is not None:
            return await self.rest.seen(name)
        return printable((await self._ask(f"squeue --me -h --name={name} -o '%T %r'")).stdout)

    async def _stuck(self, name: str) -> Finding | None:
        """Say at once when Slurm's reason cannot go away by waiting."""
        state, _, reason = (await self._queued(name)).partition(" ")
        judged = reason_class(reason)
        if state != "PENDING" or judged.cls not in {ReasonClass.NEVER, ReasonClass.HELD}:
            return None
        asked = self._asked().model_dump(exclude_none=True)
        usual = ", ".join(f"{key}: {value}" for key, value in asked.items())
        fix = f"a job with the cluster's defaults ({usual}) never starts: {reason}: {judged.advice}"
        return Finding("fail", "job", fix)

    def _asked(self) -> Resources:
        """Return what jobs ask for whose recipe names nothing: the cluster's defaults."""
        usual = self.settings.defaults
        return usual if usual.time else usual.model_copy(update={"time": BRIEF})

    def _script(self) -> str:
        runtime = self.settings.runtime
        body = _JOB.format(
            rounds=ROUNDS,
            module=_module(runtime),
            runtime=containers.program(runtime) if runtime.name != "none" else "''",
        )
        return "\n".join(["#!/bin/bash", *sbatch_lines(self._asked(), requeue=False), body])

    def _judged(self, answer: list[str], waited: float) -> Finding:
        if len(answer) != 4:
            return Finding("fail", "job", f"it answered {' '.join(answer)!r}: see the node's bash")
        host, won, every, runtime = answer
        if not won == every == str(ROUNDS):
            fix = (
                f"of {ROUNDS} races for one name {every} were won ({won} names) on {host}: ln -sT "
                f"is not atomic on {self.workdir}; set workdir to another file system"
            )
            return Finding("fail", "job", fix)
        if runtime == "missing":
            program = containers.program(self.settings.runtime)
            fix = f"{host} has no {program}: set runtime.module, or runtime.name: none"
            return Finding("fail", "job", fix)
        text = (
            f"{host} sees the workdir, and a job that is submitted twice by accident runs only "
            f"once there; answered after {waited:.1f} s"
        )
        return Finding("ok", "job", text + ("" if runtime == "none" else f", {runtime}"))

    async def _late(self, directory: str, name: str) -> Finding:
        """Say what Slurm thinks of a job that has not answered."""
        said = await self._queued(name)
        if said.startswith("PENDING"):
            reason = said.removeprefix("PENDING").strip()
            text = (
                f"still waiting in the queue after {self.patience:.0f} s ({reason}: "
                f"{reason_class(reason).advice}); --patience 600 waits longer"
            )
            return Finding("warn", "job", text)
        out = await self._ask(f"tail -c 300 -- {quote(directory)}/*out 2>/dev/null")
        fix = (
            f"it left nothing in {directory} ({said or 'ended'}"
            f"{': ' + printable(out.stdout) if out.stdout else ''}): compute nodes may not see "
            f"{self.workdir}; set workdir to a directory on the shared file system"
        )
        return Finding("fail", "job", fix)


def _module(runtime: RuntimeSettings) -> str:
    """Return the line that loads the site's modules, if there are any."""
    names = " ".join(map(quote, (runtime.module or "").split()))
    return f"module load {names} >/dev/null 2>&1" if names else ":"

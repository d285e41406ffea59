"""One more login node of a testbed: an sshd of its own, whose manners can be changed as it runs.

What a real site's login node does and a fresh sshd does not: refuse sessions and forwarding, print
banners and rubbish, be slow, show another host key, forget a key. And a place early on PATH for
programs that stand before Slurm's own.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from slurm import testbed_files as files
from slurm.testbed import SBIN, Testbed, TestbedError, free_ports, signal_all, until

REACHED_S = 30.0  # until a submission must have come to the gate
# Where sshd looks for programs, behind ours.
USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"
# Seconds that a program waits at a closed gate before it goes on all the same: none waits for ever.
GATE_S = 60

# Every session begins here, so that its profile can be changed while the door is open.
_SHELL = """#!/bin/bash
# shellcheck disable=SC1091 # written as the test goes on
. {home}/profile
exec /bin/bash -c "$SSH_ORIGINAL_COMMAND"
"""

# A gate, armed for one submission: it stands there when its directory is made, before Slurm is
# called, or after that with the answer in hand.
_GATE = """#!/bin/bash
gate={home}/gate
is_for() {{
    read -r when number <"$gate/armed" && [ "$when" = "$1" ] && rm "$gate/armed"
}} 2>/dev/null
stand() {{
    : >"$gate/reached-$number"
    for _ in $(seq {ticks}); do [ -e "$gate/open-$number" ] && break; sleep 0.1; done
}}
"""
_MKDIR = """
{mkdir} "$@" || exit
case ${{!#}} in */try-*) is_for made && stand ;; esac
exit 0
"""
_SBATCH = """
printf '%s %s\\n' "$(date +%s.%N)" "$*" >>"$gate/calls"
if is_for before; then
    stand
elif is_for after; then
    said=$({sbatch} "$@" 2>"$gate/err")
    status=$?
    stand
    cat "$gate/err" >&2
    printf '%s\\n' "$said"
    exit "$status"
fi
exec {sbatch} "$@"
"""


class Door:
    """An sshd beside the testbed's own, in a folder of the testbed; use it as a context manager."""

    def __init__(
        self,
        testbed: Testbed,
        name: str,
        settings: Mapping[str, str] | None = None,
        *,
        slurm_conf: Mapping[str, str] | None = None,
    ) -> None:
        """Take ``settings`` into sshd_config, ``slurm_conf`` into what programs there read."""
        self.testbed = testbed
        self.name = f"{files.DOOR}{name}"
        self.home = testbed.dir / self.name
        self.bin, self.gate = self.home / "bin", self.home / "gate"
        for folder in (self.home, self.bin, self.gate):
            folder.mkdir(mode=0o755)
        self.port = free_ports(1)[0]
        (self.home / "port").write_text(str(self.port))
        self._settings = dict(settings or {})
        self._slurm_conf = dict(slurm_conf or {})
        self._gates = 0  # how often it was armed
        self._write()

    def _write(self) -> None:
        ssh = self.testbed.dir / "ssh"
        for file in ("host_ed25519", "host_ed25519.pub", "authorized_keys"):
            shutil.copy(ssh / file, self.home / file)
        told = (ssh / "known_hosts").read_text()
        port = self.testbed.plan.ports["sshd"]
        (self.home / "known_hosts").write_text(told.replace(f":{port} ", f":{self.port} "))
        conf = self.testbed.conf.read_text().splitlines()
        for key, value in self._slurm_conf.items():
            conf = [line for line in conf if not line.startswith(f"{key}=")] + [f"{key}={value}"]
        (self.home / "slurm.conf").write_text("\n".join(conf) + "\n")
        (self.home / "profile").touch()
        self.wrap("shell", _SHELL.format(home=self.home), folder=self.home)
        path = self.testbed.env["PATH"]
        for program, text in (("sbatch", _SBATCH), ("mkdir", _MKDIR)):
            usual = {program: shutil.which(program, path=path)}
            gate = _GATE.format(home=self.home, ticks=GATE_S * 10)
            self.wrap(program, gate + text.format(**usual))
        text = files.sshd_config(
            self.testbed.plan,
            self.home,
            self.port,
            settings={"ForceCommand": str(self.home / "shell"), **self._settings},
            environment={
                "SLURM_CONF": str(self.home / "slurm.conf"),
                "PATH": f"{self.bin}:{USUAL_PATH}:{SBIN}",
            },
        )
        (self.home / "sshd_config").write_text(text)

    # --- its life ---------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.testbed.up(self.name)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.open_gate()
        self.testbed.down(self.name)
        shutil.rmtree(self.home)

    @property
    def known_hosts(self) -> Path:
        """A known_hosts file with the key that this door has at first."""
        return self.home / "known_hosts"

    def close(self) -> None:
        """Take the listener and all sessions down."""
        self.testbed.ctl("down", self.name)

    def reopen(self) -> None:
        """Listen again."""
        self.testbed.ctl("up", self.name)

    # --- what happens to connections --------------------------------------------------------------

    def drop(self) -> None:
        """Kill the sessions; the listener stays."""
        self.testbed.ctl("drop", self.name)

    def freeze(self) -> list[int]:
        """Stop the sessions that are open and return them: nothing is said, nothing is closed."""
        frozen = self.testbed.sessions(self.name)
        signal_all(frozen, signal.SIGSTOP)
        return frozen

    def thaw(self, frozen: list[int]) -> None:
        """Let stopped sessions go on, those that are still there."""
        signal_all(frozen, signal.SIGCONT)

    def pause(self) -> None:
        """Stop listener and sessions: new connections are taken by the kernel and hear nothing."""
        self.testbed.ctl("pause", self.name)

    def resume(self) -> None:
        """Go on after ``pause``."""
        self.testbed.ctl("resume", self.name)

    # --- keys -------------------------------------------------------------------------------------

    def revoke(self) -> None:
        """Forget the key that opens this door, and end the sessions."""
        (self.home / "authorized_keys").write_text("")
        self.drop()

    def admit(self) -> None:
        """Know that key again."""
        shutil.copy(self.testbed.dir / "ssh" / "authorized_keys", self.home / "authorized_keys")

    def change_host_key(self) -> None:
        """Show another host key from now on."""
        self.close()
        for file in ("host_ed25519", "host_ed25519.pub"):
            (self.home / file).unlink()
        argv = [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-f",
            str(self.home / "host_ed25519"),
        ]
        subprocess.run(argv, check=True)
        self.reopen()

    def restore_host_key(self) -> None:
        """Show the first host key again."""
        self.close()
        for file in ("host_ed25519", "host_ed25519.pub"):
            shutil.copy(self.testbed.dir / "ssh" / file, self.home / file)
        self.reopen()

    # --- what its users find ----------------------------------------------------------------------

    def set_profile(self, text: str) -> None:
        """Let every session from now on begin with these lines of bash."""
        draft = self.home / "profile.new"
        draft.write_text(text)
        draft.replace(self.home / "profile")

    def wrap(self, program: str, text: str, *, folder: Path | None = None) -> None:
        """Put a program before the one of this name."""
        place = (folder or self.bin) / program
        draft = place.with_name(f".{program}.new")
        draft.write_text(text)
        draft.chmod(0o755)
        draft.replace(place)

    def unwrap(self, program: str) -> None:
        """Let the usual program be found again."""
        (self.bin / program).unlink()

    # --- the gate ---------------------------------------------------------------------------------

    def arm(self, when: str) -> None:
        """Hold one submission: when its directory is ``made``, ``before`` or ``after`` sbatch."""
        self._gates += 1
        (self.gate / "new").write_text(f"{when} {self._gates}\n")
        (self.gate / "new").replace(self.gate / "armed")

    def wait_at_gate(self, seconds: float = REACHED_S) -> None:
        """Wait until a submission stands at the gate."""
        if not until((self.gate / f"reached-{self._gates}").exists, seconds):
            raise TestbedError(f"{self.name}: no submission came to the gate in {seconds:.0f} s")

    def open_gate(self) -> None:
        """Let who stands there go on."""
        (self.gate / f"open-{self._gates}").touch()

    def calls(self) -> list[tuple[float, str]]:
        """Return when sbatch was called here, and with what."""
        file = self.gate / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(float(line.split()[0]), line.partition(" ")[2]) for line in lines]

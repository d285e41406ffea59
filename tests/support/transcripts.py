"""Transcripts of Slurm commands: text files that are script and expected result in one.

``$ command`` is run by bash in a work directory of its own. ``| line`` is what it printed,
``! line`` what it complained, ``[1]`` its exit status unless that is 0. ``$ ID=command`` keeps the
output for later commands as ``$ID``. ``> until NAME STATE`` waits until the job of that name is in
that state, ``> accounted NAME STATE`` until accounting says so, ``> pass SECONDS`` lets time pass.
Ids, times, names of hosts, users and directories are replaced when recorded and when compared.
Jobs are called ``simlike-...``; every play uses another word of that length instead, so that jobs
of an earlier play are not in the way.
"""

from __future__ import annotations

import asyncio
import difflib
import getpass
import os
import re
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchd.sim import Clock

FOLDER = Path(__file__).parents[1] / "data" / "slurm-transcripts"
PREFIX = "simlike"
PATIENCE = 30.0  # seconds for a state; the real slurmctld looks at its queue once a second
ASK_AGAIN = 0.1  # seconds between two looks


@dataclass
class Place:
    """Where commands run: an environment that finds the right Slurm, a directory, and a clock."""

    environment: Mapping[str, str]
    directory: Path
    clock: Clock | None = None
    host: str = socket.gethostname()
    prefix: str = field(default_factory=lambda: f"s{secrets.token_hex(3)}")
    ids: dict[str, str] = field(default_factory=dict)

    async def run(self, command: str) -> tuple[int, str, str]:
        """Run a command line; return exit status, output and errors."""
        command = command.replace(PREFIX, self.prefix)
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_"))},
            **self.environment,
            **self.ids,
        }
        child = await asyncio.create_subprocess_exec(
            "/bin/bash",
            "-c",
            command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.directory,
            env=environment,
        )
        out, err = await child.communicate()
        assert child.returncode is not None
        return child.returncode, out.decode(), err.decode()

    async def until(self, command: str, state: str) -> None:
        """Wait until the command prints the state."""
        deadline = time.monotonic() + PATIENCE
        while (got := (await self.run(command))[1].split()) != [state]:
            assert time.monotonic() < deadline, f"{command}: {got}, not {state}"
            await asyncio.sleep(ASK_AGAIN)

    async def let_pass(self, seconds: float) -> None:
        """Let time pass: at once on a clock of ours, for real on a real cluster."""
        if self.clock is not None:
            self.clock.advance(seconds)
        else:
            await asyncio.sleep(seconds)


def commands(text: str) -> list[str]:
    """Return the script in a transcript: its comments, commands and waits."""
    return [line for line in text.splitlines() if line[:2] in {"$ ", "> ", "# "} or not line]


async def play(text: str, place: Place) -> str:
    """Run the script in a transcript and return the transcript of that."""
    lines: list[str] = []
    for line in commands(text):
        lines.append(line)
        if line.startswith("> "):
            await _wait(line[2:].split(), place)
        elif line.startswith("$ "):
            keep = re.match(r"([A-Z]+)=(.*)", line[2:])
            command = keep[2] if keep else line[2:]
            status, out, err = await place.run(command)
            if keep and out.strip():
                place.ids[keep[1]] = out.strip()
            lines += _show(command, out, err, status, place)
    return "\n".join(lines) + "\n"


def differences(expected: str, actual: str) -> list[str]:
    """Return what is not the same, with the commands around it."""
    lines = expected.splitlines(), actual.splitlines()
    return list(difflib.unified_diff(*lines, "expected", "actual", n=2, lineterm=""))


async def _wait(words: list[str], place: Place) -> None:
    if words[0] == "until":
        await place.until(f"squeue -h -t all -n {words[1]} -o %T", words[2])
    elif words[0] == "accounted":
        await place.until(
            f"sacct -X -n -P --name={words[1]} --format=State -S now-1hours | cut -d' ' -f1",
            words[2],
        )
    else:
        await place.let_pass(float(words[1]))


def _show(command: str, out: str, err: str, status: int, place: Place) -> list[str]:
    out_lines = _clean(out, place).splitlines()
    if re.match(r"(\S+=\S+ )*(squeue|sacct) ", command) and re.search(r" -\w*[hn]", command):
        out_lines.sort()  # the order of equals is nobody's promise
    lines = [f"| {line}" for line in out_lines]
    lines += [f"! {line}" for line in _clean(err, place).splitlines()]
    return [*lines, f"[{status}]"] if status else lines


def _clean(text: str, place: Place) -> str:
    """Replace what differs between two runs."""
    text = text.replace(str(place.directory), "<dir>").replace(place.prefix, PREFIX)
    text = text.replace(place.prefix[:5], PREFIX[:5])  # in a narrow column
    text = re.sub(r"/\S*/slurm_script", "<spool>/slurm_script", text)
    text = re.sub(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\b", "<time>", text)
    text = re.sub(r"\b1[78]\d{8}\b", "<time>", text)
    text = re.sub(r"\bJob \d+ to start", "Job <id> to start", text)
    for name, number in place.ids.items():
        place_of_id = rf"(^ *|[jJ]ob (?:id )?|JOB |JobId=|slurm-|/){number}\b"
        text = re.sub(place_of_id, rf"\1<{name}>", text, flags=re.MULTILINE)
    text = re.sub(rf"\b{re.escape(getpass.getuser())}\b", "<user>", text)
    text = text.replace(f"CANCELLED by {os.getuid()}", "CANCELLED by <uid>")
    text = text.replace("JobHeldAdmin", "JobHeldUser")  # who holds as root is an admin
    text = re.sub(rf"\b{re.escape(place.host)}\b", "<host>", text)
    text = text.replace("\x1f", "␟")
    return re.sub(r" +$", lambda spaces: "␠" * len(spaces[0]), text, flags=re.MULTILINE)

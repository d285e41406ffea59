"""The token that slurmrestd is shown: from a file or a command, renewed before it ends.

It is a secret: no message, log, metric or argument list says it. What stands in it (its end, its
user) is read and not verified; that is Slurm's to do.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import re
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from benchd.config import RestSettings
from benchd.edge import login
from benchd.edge.shell import Shell, printable
from benchd.errors import Unreachable
from benchd.secrecy import REDACTED

# Seconds before its end at which a token is renewed: no request takes longer to arrive.
RENEWAL = 60.0
# Seconds for the command that prints one; it may log in somewhere.
COMMAND_TIME = 30.0
# Bytes of a token, and of what else the command may print.
_SIZE = 16384
# As `scontrol token` prints it, or by itself.
_TOKEN = re.compile(r"(?:SLURM_JWT=)?(?P<token>[A-Za-z0-9_=-]+(?:\.[A-Za-z0-9_=-]+){2})")


def claims(token: str) -> dict[str, object]:
    """Return what a token says; nothing when it cannot be read."""
    try:
        part = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError, binascii.Error, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def end_of(token: str) -> float | None:
    """Return when a token ends; None when it does not say."""
    end = claims(token).get("exp")
    return float(end) if isinstance(end, int | float) else None


class Token:
    """The token of one cluster."""

    def __init__(
        self, name: str, settings: RestSettings, *, shell: Shell, clock: Callable[[], float]
    ) -> None:
        """Take the shell of this host, in which ``token_command`` runs."""
        self._name = name
        self._settings = settings
        self._shell = shell
        self._clock = clock
        self._kept = ""  # what the command printed last
        self._lock = asyncio.Lock()

    async def get(self) -> str:
        """Return a token that has not ended; empty where none is used.

        ``Unreachable`` when there is none to be had: nothing was tried with an old one.
        """
        if self._settings.token_command is not None:
            async with self._lock:
                if not self._kept or self._ends_within(self._kept, RENEWAL):
                    self._kept = await self._printed(self._settings.token_command)
                return self._fresh(self._kept, "what token_command printed")
        if self._settings.token_file is not None:
            file = Path(login.path(self._settings.token_file))
            return self._fresh(await asyncio.to_thread(self._written, file), str(file))
        return ""

    async def other_than(self, refused: str) -> bool:
        """Tell whether there is now another token than the one that may have been refused.

        When there is none to be had (scontrol asks slurmctld, too), the old one stays.
        """
        kept = self._kept
        if kept == refused:
            self._kept = ""
        try:
            return await self.get() != refused
        except Unreachable:
            self._kept = self._kept or kept
            return False

    def _ends_within(self, token: str, seconds: float) -> bool:
        end = end_of(token)
        return end is not None and end - self._clock() <= seconds

    def _fresh(self, token: str, where: str) -> str:
        if self._ends_within(token, 0.0):
            end = datetime.fromtimestamp(end_of(token) or 0.0, timezone.utc)
            raise self._none(f"{where} ended at {end:%Y-%m-%d %H:%M:%S} UTC: make a new one")
        return token

    def _written(self, file: Path) -> str:
        try:
            with file.open("rb") as opened:
                mode = os.fstat(opened.fileno()).st_mode
                data = opened.read(_SIZE)
        except OSError as error:
            raise self._none(f"{file} cannot be read ({error.strerror})") from error
        if login.is_open(file, mode):
            raise self._none(f"{file} can be read by others: run `chmod 600 {file}`")
        return self._read(data, str(file))

    async def _printed(self, command: str) -> str:
        done = await self._shell.run(command, op="token", timeout=COMMAND_TIME, limit=_SIZE)
        if done.status != 0:
            said = _TOKEN.sub(REDACTED, printable(done.stderr[-300:])) or "it said nothing"
            raise self._none(f"token_command ended with status {done.status}: {said}")
        return self._read(done.stdout, "what token_command printed")

    def _read(self, data: bytes, where: str) -> str:
        words = data.decode("utf-8", "replace").split()
        match = _TOKEN.fullmatch(words[-1]) if words else None
        if match is None:
            raise self._none(
                f"{where} is no JSON web token: `scontrol token lifespan=3600` prints one"
            )
        return match["token"]

    def _none(self, why: str) -> Unreachable:
        return Unreachable(f"{self._name}: no token for slurmrestd: {why}", sent=False)

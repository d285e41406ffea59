"""The secrets of runs: one file for each run, mode 0600, below the state directory and in no table.

A run's secrets are found or made when its recipe is accepted and stay the same for all its tries
and attempts. The file also remembers that something may lie on the cluster: it is removed when
nothing does any more, so after a crash, or months without a link, the removal is still owed.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import stat
import string
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import structlog

from benchd.core import paths
from benchd.core.model import Job
from benchd.core.secrets import TICKET, literals, sources
from benchd.core.spec import Recipe, Role, Secret
from benchd.edge import login
from benchd.edge.store.place import NO_ROOM
from benchd.errors import StoreError, StoreFull, UserError

log = structlog.get_logger()

# Service or client -> variable -> value.
Values = dict[str, dict[str, str]]

SIZE_LIMIT = 4096  # bytes of one secret; a PEM key of 4096 bits has 3,300, but it has many lines
TICKET_LENGTH = 32  # letters and digits: 190 bits
ORPHAN_AGE = 3600.0  # seconds after which a file without a run is no acceptance in progress
_ALPHABET = string.ascii_letters + string.digits
_CREDENTIAL = "secret."  # what a recipe may name begins so: the SSH key is a credential as well
_ROOT = 0  # uid
_LINE = re.compile(r"[^\x00-\x1f\x7f\x85\u2028\u2029]+")
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


# Tells of a job whether the cluster may have it, or another one that shares its secrets, already.
IsOut = Callable[[Job], Awaitable[bool]]


async def _nowhere(_job: Job) -> bool:
    return False


class Keyring:
    """The directory ``<state>/secrets``."""

    def __init__(self, directory: Path, *, is_out: IsOut = _nowhere) -> None:
        """Take ``is_out``: whether Slurm may have a job, or a sibling of it, with other secrets."""
        self._directory = directory
        self._is_out = is_out
        self._lock = asyncio.Lock()
        self._held = {file.stem for file in directory.glob("*.json")}

    @property
    def runs(self) -> frozenset[str]:
        """The runs whose secrets may lie somewhere."""
        return frozenset(self._held)

    async def resolve(self, recipe: Recipe, uid: int) -> Values:
        """Return the secrets a recipe asks for; ``UserError`` when one cannot be had."""
        if not any(sources(part) for _, part in paths.parts(recipe)):
            return {}
        return await asyncio.to_thread(_resolved, recipe, uid)

    async def keep(self, run_id: str, values: Values) -> None:
        """Write down the secrets of a run that is about to be recorded, unless they are there."""
        if values and run_id not in self._held:
            async with self._lock:
                await asyncio.to_thread(self._write, run_id, values)

    async def of(self, job: Job) -> dict[str, str]:
        """Return what a job is told: its own secrets, then its services'; the first of a name wins.

        One that is gone for ever is left out: the try may have been sent when it was still there,
        and if not, the job's own script says what is missing. None is made in the place of one that
        was lost while its service is up: clients would be told a wrong one.
        """
        targets = [(_run_of(binding.token), binding.name) for binding in job.bindings]
        if not job.spec.secrets and not any(run in self._held for run, _ in targets):
            return {}
        async with self._lock:
            missing = await asyncio.to_thread(self._missing, job)
            is_shared = bool(missing) and job.role is Role.SERVICE
            makes = not is_shared or not await self._is_out(job)
            return await asyncio.to_thread(self._told, job, targets, makes=makes)

    async def check(self, job: Job) -> None:
        """Raise ``UserError`` when a secret is gone that another attempt at this job would need."""
        async with self._lock:
            missing = await asyncio.to_thread(self._missing, job)
            await asyncio.to_thread(_found, job.name, missing, is_service=False)

    async def drop(self, run_id: str) -> None:
        """Forget a run's secrets."""
        async with self._lock:
            await asyncio.to_thread(self._file(run_id).unlink, missing_ok=True)
            self._held.discard(run_id)

    async def is_orphan(self, run_id: str) -> bool:
        """Tell whether the file of a run that nobody knows is too old to be that of a new one."""
        with suppress(OSError):
            status = await asyncio.to_thread(self._file(run_id).stat)
            return time.time() - status.st_mtime > ORPHAN_AGE
        return True

    # --- in the thread ------------------------------------------------------------------------

    def _file(self, run_id: str) -> Path:
        return self._directory / f"{run_id}.json"

    def _missing(self, job: Job) -> dict[str, Secret | None]:
        own = self._read(job.run_id).get(job.name, {})
        return {name: how for name, how in job.spec.secrets.items() if name not in own}

    def _told(self, job: Job, targets: Iterable[tuple[str, str]], *, makes: bool) -> dict[str, str]:
        values = self._read(job.run_id)
        own = values.get(job.name, {})
        missing = self._missing(job)
        if not makes and (lost := [n for n, how in missing.items() if how and how.generate]):
            log.warning("secrets.lost", names=lost, **job.log_context())
            missing = {name: how for name, how in missing.items() if name not in lost}
        if missing:  # an attempt after the run's end, when all was removed
            has_ticket = makes and job.role is Role.SERVICE
            try:
                own = {**own, **_found(job.name, missing, is_service=has_ticket)}
            except UserError as error:
                log.warning("secrets.missing", error=str(error), **job.log_context())
        told = dict(own)
        for run_id, name in targets:
            told = {**self._read(run_id).get(name, {}), **told}
        if missing or (told and job.run_id not in self._held):
            self._write(job.run_id, {**values, job.name: own})
        return told

    def _read(self, run_id: str) -> Values:
        if run_id not in self._held:
            return {}
        try:
            values: Values = json.loads(self._file(run_id).read_bytes())
        except FileNotFoundError:  # somebody tidied up
            return {}
        except OSError as error:
            raise self._trouble("read", error) from error
        return values

    def _write(self, run_id: str, values: Values) -> None:
        draft = self._directory / f".{run_id}.new"
        try:
            self._draft(draft, values)
            draft.replace(self._file(run_id))
        except OSError as error:
            with suppress(OSError):  # half a secret is one, too
                draft.unlink()
            raise self._trouble("write", error) from error
        self._held.add(run_id)

    def _draft(self, draft: Path, values: Values) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(draft, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(values, file)
            file.flush()
            os.fsync(file.fileno())

    def _trouble(self, act: str, error: OSError) -> StoreError:
        if error.errno in NO_ROOM:
            return StoreFull(
                f"no room for the secrets of a run in {self._directory} (disk or quota full): "
                "nothing was kept; make room there, benchd goes on by itself"
            )
        return StoreError(
            f"cannot {act} the secrets of a run in {self._directory} ({error.strerror}): it must "
            "be a directory that the user benchd runs as can read and write"
        )


def _run_of(token: str) -> str:
    return token.partition("-")[2].partition("-")[0]


def _resolved(recipe: Recipe, uid: int) -> Values:
    values: Values = {}
    for path, part in paths.parts(recipe):
        wanted: Mapping[str, Secret | None] = sources(part)
        if not wanted:
            continue
        if uid not in (_ROOT, os.getuid()) and any(
            how and how.file for how in part.secrets.values()
        ):
            raise UserError(
                f"{part.name}: secrets from files are for the user benchd runs as (uid "
                f"{os.getuid()}), and this recipe is of uid {uid}: use {{generate: 24}}"
            )
        given = literals(part)
        rest = {name: how for name, how in wanted.items() if name not in given}
        found = _found(part.name, rest, is_service=path[0] in ("service", "services"))
        values[part.name] = {**given, **found}
    return values


def _found(part: str, wanted: Mapping[str, Secret | None], *, is_service: bool) -> dict[str, str]:
    """Return secrets by where they come from, and the ticket that a service's clients may show."""
    found = {name: _value(f"{part}: secrets.{name}", how) for name, how in wanted.items()}
    return {**found, TICKET: _made(TICKET_LENGTH)} if is_service else found


def _made(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _value(name: str, how: Secret | None) -> str:
    if how is None:
        raise UserError(
            f"{name} stood in the recipe and was removed when its run ended: "
            "submit the recipe again"
        )
    if how.generate is not None:
        return _made(how.generate)
    if how.file is not None:
        path = Path(how.file).expanduser()
        if not path.is_absolute():
            raise UserError(f"{name}: {how.file} must be absolute or begin with ~/")
        return _content(name, path)
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    if given is None:
        raise UserError(
            f"{name}: systemd handed over no credentials: add LoadCredential="
            f"{_CREDENTIAL}{how.credential}:/path to benchd's unit, or use {{file: PATH}}"
        )
    return _content(name, Path(given) / f"{_CREDENTIAL}{how.credential}")


def _content(name: str, path: Path) -> str:
    """Return the one line of a file that nobody else can read."""
    try:
        with os.fdopen(os.open(path, _OPEN), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{name}: {path} is no file")
            data = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise UserError(f"{name}: cannot read {path}: {error.strerror}") from error
    if login.is_open(path, status.st_mode):
        raise UserError(f"{name}: {path} can be read by others: chmod 600 {path}")
    return _line(name, path, data)


def _line(name: str, path: Path, data: bytes) -> str:
    # The text itself must not be part of any message.
    try:
        text = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        text = "\0"
    if len(data) > SIZE_LIMIT or not _LINE.fullmatch(text):
        raise UserError(f"{name}: {path} is not one line of text of at most {SIZE_LIMIT} bytes")
    return text

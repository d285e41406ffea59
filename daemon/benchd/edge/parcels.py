"""Getting things to and from the shared file system: zipapps there, results and logs home."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Callable
from pathlib import PurePosixPath
from shlex import quote

from benchd.core.model import Fetched, Job
from benchd.edge.pack import Package
from benchd.edge.remote import Remote
from benchd.edge.shell import printable
from benchd.edge.submission import Place
from benchd.errors import Unreachable

# Bytes of what one job left that are brought home at most.
FETCH_LIMIT = 64 * 1024 * 1024
# Bytes of the end of .out and .err that come with it; the whole stays on the cluster.
_LOG_TAIL = 256 * 1024
# Files of one job that are brought home at most.
_FILES = 10_000
# Seconds for a transfer: 64 MiB at 0.5 MiB/s.
_TRANSFER_TIMEOUT = 130.0

# A zipapp's name -> what is sent.
Pack = Callable[[str], Package]


class Parcels:
    """Sends each zipapp once per connection, if the cluster does not have it."""

    def __init__(self, remote: Remote, pack: Pack) -> None:
        self._remote = remote
        self._pack = pack
        self._sent: set[tuple[int, str]] = set()
        self._lock = asyncio.Lock()

    async def send(self, place: Place, names: tuple[str, ...]) -> None:
        """Make sure that these zipapps lie in the workdir, whole."""
        async with self._lock:
            for name in names:
                if (self._remote.shell.generation, name) not in self._sent:
                    await self._send(place, name)
                    self._sent.add((self._remote.shell.generation, name))

    async def _send(self, place: Place, name: str) -> None:
        package = self._pack(name)
        target = quote(f"{place.workdir}/ship/{package.file_name}")
        check = f'[ "$(sha256sum <"$1" | cut -c1-64)" = {package.sha256} ]'
        there = await self._remote.run(f"set -- {target}; {check} 2>/dev/null", op="ship")
        if there.status == 0:
            return
        # A hash mismatch is also what a cut link leaves; then nothing gets the name.
        done = await self._remote.run(
            f'umask 077; set -- {target}; mkdir -p "${{1%/*}}"; f=$1; set -- "$f.$$.tmp"; '
            f'cat >"$1" && {check} && mv -fT "$1" "$f" || {{ rm -f "$1"; exit 1; }}',
            op="ship",
            stdin=package.data,
            timeout=_TRANSFER_TIMEOUT,
        )
        if done.status != 0:
            raise Unreachable(
                f"{self._remote.name}: could not write {target} ({done.said() or 'cut short'}); "
                "is the workdir full or over quota?",
                sent=False,
            )


async def fetch(remote: Remote, place: Place, job: Job, limit: int = FETCH_LIMIT) -> Fetched:
    """Bring home exit.json, result/ and the ends of the logs."""
    home = quote(place.job_dir(job.run_id, job.token))
    done = await remote.run(
        f"cd {home} || exit 3; tar --ignore-failed-read -cf - exit.json result 2>/dev/null "
        f"| head -c {limit}",
        op="fetch",
        timeout=_TRANSFER_TIMEOUT,
        limit=limit,
    )
    if done.status != 0:
        raise Unreachable(f"{remote.name}: cannot read {home}: {done.said()}")
    files, truncated = await asyncio.to_thread(unpack, done.stdout, limit)
    for name in ("out", "err"):
        files[name] = await tail(remote, place, job, name, _LOG_TAIL)
    return Fetched(files=files, truncated=truncated or done.truncated)


def unpack(archive: bytes, limit: int) -> tuple[dict[str, bytes], bool]:
    """Return the regular files of a tar stream, and whether something was left out or cut."""
    files: dict[str, bytes] = {}
    truncated = len(archive) >= limit
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if member.isdir():
                    continue
                # A sparse member may claim terabytes; a link may point anywhere.
                plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
                if not plain or member.issparse() or not _is_ours(path) or len(files) >= _FILES:
                    truncated = True
                    continue
                content = tar.extractfile(member)
                files[printable(str(path))] = content.read() if content else b""
    except (tarfile.TarError, EOFError):
        truncated = truncated or bool(archive.strip(b"\0"))
    return files, truncated


def _is_ours(path: PurePosixPath) -> bool:
    inside = not path.is_absolute() and ".." not in path.parts
    return inside and (str(path) == "exit.json" or path.parts[:1] == ("result",))


async def tail(remote: Remote, place: Place, job: Job, stream: str, limit: int) -> bytes:
    """Return the last bytes of a job's output; nothing while there is none."""
    file = log_file(place, job, stream)
    if file is None:
        return b""
    done = await remote.run(f"tail -c {limit:d} -- {quote(file)}", op="log", limit=limit)
    return done.stdout


async def log(
    remote: Remote, place: Place, job: Job, stream: str, *, offset: int, limit: int
) -> bytes:
    """Return a job's output from ``offset`` on; a negative one counts from the end."""
    file = log_file(place, job, stream)
    if file is None:
        return b""
    start = f"+{offset + 1:d}" if offset >= 0 else f"{-offset:d}"
    done = await remote.run(
        f"tail -c {start} -- {quote(file)} | head -c {limit:d}", op="log", limit=limit
    )
    return done.stdout


def log_file(place: Place, job: Job, stream: str) -> str | None:
    """Return the path of a job's output, or None before Slurm has it."""
    if stream not in ("out", "err"):
        raise ValueError(f"{stream!r} is no output stream: out or err")
    if job.slurm_id is None:
        return None
    return f"{place.job_dir(job.run_id, job.token)}/{job.slurm_id}.{stream}"

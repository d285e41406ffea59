"""Getting things to and from the shared file system: zipapps there, results and logs home."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import PurePosixPath
from shlex import quote

from benchd.core.model import Fetched, Job, JobState
from benchd.core.secrets import MOMENTARY
from benchd.edge import witness
from benchd.edge.pack import Package
from benchd.edge.remote import Remote
from benchd.edge.shell import printable
from benchd.edge.submission import Place
from benchd.errors import NotYet, Unreachable

# Bytes of what one job left that are brought home at most.
FETCH_LIMIT = 64 * 1024 * 1024
# Bytes of the end of .out and .err that come with it; the whole stays on the cluster.
LOG_TAIL = 256 * 1024
# Files of one job that are brought home at most.
_FILES = 10_000
# Seconds after a job's end in which what its node wrote may be invisible or unreadable on the login
# node: NFS believes its own memory of a directory for up to 60, and a server may be restarted.
GRACE = 120.0
# The same on a test installation, whose file system is this machine's.
TESTBED_GRACE = 5.0
# Jobs whose secrets are removed by one command: some 20 KiB of paths, a login shell takes 128.
_AT_ONCE = 100
# Exit statuses of a script that did not do the job's work: a twin, or no fence to be had.
NOT_THE_WORK = frozenset({75, 78})
# How programs say that there is no such file; the other errors of a read may pass.
MISSING = b"No such file or directory"
# Bytes of what tail may complain about that are read: a path of 4,096, and the words around it.
_WORDS = 8192
# Our own exit statuses while fetching; tar has 0, 1 and 2: the workdir cannot be read, the job's
# directory is not there, it cannot be read.
_CLOSED, _GONE, _FAILED = 93, 94, 95
# What is brought home, the small files that say most before the samples that may fill the limit.
_ORDER = "exit.json result/*.json result"
# Seconds for a transfer: 64 MiB at 0.5 MiB/s.
_TRANSFER_TIMEOUT = 130.0

# A zipapp's file name -> what is sent; None when it is not to be had any more.
Pack = Callable[[str], Package | None]


class Parcels:
    """Sends each zipapp once per connection, if the cluster does not have it."""

    def __init__(self, remote: Remote, pack: Pack) -> None:
        self._remote = remote
        self._pack = pack
        self._sent: set[tuple[int, str]] = set()
        self._lock = asyncio.Lock()

    async def send(self, place: Place, names: tuple[str, ...]) -> None:
        """Make sure that these files lie in the workdir's ``ship``, whole."""
        async with self._lock:
            for name in names:
                if (self._remote.shell.generation, name) not in self._sent:
                    await self._send(place, name)
                    self._sent.add((self._remote.shell.generation, name))

    async def _send(self, place: Place, name: str) -> None:
        package = self._pack(name)
        if package is None:  # it may lie there yet; if not, the script says so on its node
            return
        target = quote(f"{place.workdir}/ship/{package.file_name}")
        check = f'[ "$(sha256sum <"$1" | cut -c1-64)" = {package.sha256} ]'
        there = await self._remote.run(f"set -- {target}; {check} 2>/dev/null", op="ship")
        if there.status == 0:
            return
        done = await self._remote.run(
            _writing(target, package.sha256),
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


def _writing(target: str, sha256: str) -> str:
    """Return the command that writes its standard input to a file, a quoted path."""
    # A hash mismatch is also what a cut link leaves; then nothing gets the name.
    return (
        f'umask 077; set -- {target}; mkdir -p "${{1%/*}}"; f=$1; set -- "$f.$$.tmp"; '
        f'cat >"$1" && [ "$(sha256sum <"$1" | cut -c1-64)" = {sha256} ] && mv -fT "$1" "$f" || '
        '{ rm -f "$1"; exit 1; }'
    )


async def put(remote: Remote, place: Place, job: Job, name: str, data: bytes) -> None:
    """Write a file in a job's directory, whole or not at all; ``NotYet`` where it cannot be."""
    home = place.job_dir(job.run_id, job.token)
    # A directory that a scratch cleaner took away is not made again: its absence means something.
    writing = _writing(quote(f"{home}/{name}"), sha256(data).hexdigest())
    done = await remote.run(f"cd {quote(home)} || exit {_GONE}; {writing}", op="put", stdin=data)
    if done.status != 0:
        raise NotYet(f"{remote.name}: cannot write {home}/{name}: {done.said() or 'cut short'}")


async def fetch(
    remote: Remote, place: Place, job: Job, *, patient: bool = False, limit: int = FETCH_LIMIT
) -> Fetched:
    """Bring home exit.json, result/ and the ends of the logs.

    ``patient``: what is missing or cannot be read may still come, so ``NotYet`` is raised for it.
    Otherwise what there is has to do, marked as truncated when something could not be read.
    """
    done = await remote.run(
        _packing(place, job, limit), op="fetch", timeout=_TRANSFER_TIMEOUT, limit=limit
    )
    home = place.job_dir(job.run_id, job.token)
    if done.status == _GONE:
        return Fetched(files={}, gone=True)
    if done.status == _CLOSED:
        raise Unreachable(f"{remote.name}: cannot read {place.workdir}: {done.said()}")
    cut = done.truncated or len(done.stdout) >= limit  # then tar could not write all, and says so
    failed = done.status != 0 and not cut
    if failed and patient:
        raise NotYet(f"{remote.name}: cannot read all of {home} yet: {done.said()}")
    files, truncated = await asyncio.to_thread(unpack, done.stdout, limit)
    if patient and leaves_word(job) and not witness.is_of(job, files.get("exit.json", b"")):
        raise NotYet(f"{remote.name}: {home}/exit.json of job {job.slurm_id} is not seen yet")
    for name in ("out", "err"):
        files[name] = await _tail(remote, place, job, name, patient=patient)
    return Fetched(files=files, truncated=truncated or cut or failed)


async def forget(remote: Remote, place: Place, jobs: Sequence[Job]) -> None:
    """Remove the secrets that ended jobs may have left: one that never started, or was killed."""
    for portion in range(0, len(jobs), _AT_ONCE):
        files = " ".join(
            f"{quote(place.job_dir(job.run_id, job.token))}/{name}"
            for job in jobs[portion : portion + _AT_ONCE]
            for name in ("try-*/secret.env", *MOMENTARY)
        )
        done = await remote.run(f"rm -f -- {files}", op="forget")
        if done.status != 0:
            raise Unreachable(f"{remote.name}: cannot remove secrets: {done.said()}")


def _packing(place: Place, job: Job, limit: int) -> str:
    """Return the command that packs what there is; its status tells what is missing."""
    home, epoch = place.job_dir(job.run_id, job.token), place.epoch_name
    missing = f'*"{MISSING.decode()}"*'
    return (
        # An empty mount point is no workdir of ours.
        f"cd {quote(place.workdir)} && ls >/dev/null || exit {_CLOSED}; "
        f"[ -d runs ] || [ -f {epoch} ] || {{ echo 'it is empty' >&2; exit {_CLOSED}; }}; "
        f'J={quote(home)}; m=$(ls -d -- "$J" 2>&1) || {{ case "$m" in '
        f'{missing}) exit {_GONE};; esac; printf "%s\\n" "$m" >&2; exit {_FAILED}; }}; '
        f'cd "$J" || exit {_FAILED}; set --; for f in {_ORDER}; do '
        f'if m=$(ls -d -- "$f" 2>&1); then set -- "$@" "$f"; else '
        f'case "$m" in {missing}) ;; *) printf "%s\\n" "$m" >&2; exit {_FAILED};; esac; fi; done; '
        f'[ $# -gt 0 ] || exit 0; tar -cf - "$@" | head -c {limit}; exit "${{PIPESTATUS[0]}}"'
    )


def leaves_word(job: Job) -> bool:
    """Tell whether the job's script ran to its own end, so that an exit.json is to be expected."""
    if job.state is JobState.COMPLETED:
        return True
    by_itself = job.state is JobState.FAILED and job.slurm_state == "FAILED"
    return by_itself and job.signal is None and job.exit_code not in NOT_THE_WORK


def may_still_come(job: Job, now: float, grace: float) -> bool:
    """Tell whether the job ended so lately that a file system may not show all it left."""
    # Slurm's clock may be ahead of ours, or far off.
    return job.ended_at is not None and abs(now - job.ended_at) < grace


def unpack(archive: bytes, limit: int) -> tuple[dict[str, bytes], bool]:
    """Return the regular files of a tar stream, and whether something was left out or cut."""
    files: dict[str, bytes] = {}
    truncated = len(archive) >= limit
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                named_twice = member.islnk() and member.linkname == member.name
                if member.isdir() or (named_twice and printable(str(path)) in files):
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


async def _tail(remote: Remote, place: Place, job: Job, stream: str, *, patient: bool) -> bytes:
    """Return the last bytes of a job's output; nothing when there is none."""
    file = log_file(place, job, stream)
    if file is None:
        return b""
    done = await remote.run(f"tail -c {LOG_TAIL} -- {quote(file)}", op="log", limit=LOG_TAIL)
    if patient and done.status != 0 and MISSING not in done.stderr:
        raise NotYet(f"{remote.name}: cannot read {file} yet: {done.said()}")
    return done.stdout


async def log(
    remote: Remote, place: Place, job: Job, stream: str, *, offset: int, limit: int
) -> bytes | None:
    """Return a job's output from ``offset`` on; a negative one counts from the end.

    None when there is no such file.
    """
    file = log_file(place, job, stream)
    if file is None:
        return None
    start = f"+{offset + 1:d}" if offset >= 0 else f"{-offset:d}"
    done = await remote.run(
        f"tail -c {start} -- {quote(file)} | head -c {limit:d}",
        op="log",
        limit=max(limit, _WORDS),
    )
    if MISSING in done.stderr:
        return None
    if not done.stdout and b"tail: " in done.stderr:  # the status is head's
        raise Unreachable(f"{remote.name}: cannot read {file}: {done.said()}")
    return done.stdout


def log_file(place: Place, job: Job, stream: str) -> str | None:
    """Return the path of a job's output, or None before Slurm has it."""
    if stream not in ("out", "err"):
        raise ValueError(f"{stream!r} is no output stream: out or err")
    if job.slurm_id is None:
        return None
    return f"{place.job_dir(job.run_id, job.token)}/{job.slurm_id}.{stream}"

"""What job directories say about jobs: the witness that needs no Slurm.

``claim`` names the Slurm job that does the work, ``exit.json`` how it ended. One command reads the
directories of many jobs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from shlex import quote

from benchd.core import slurm
from benchd.core.model import Endpoint, Job, Observation
from benchd.edge import pieces
from benchd.edge.remote import Remote
from benchd.edge.submission import SEALED, Place
from benchd.edge.targets import valid_host
from benchd.errors import Unreachable

# Letters of a digest: sha256: and 64.
_DIGEST = 71
# Directories read by one command: 200 jobs make an answer of about 60 KiB.
_AT_ONCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDir:
    """One job directory. ``readable`` False: it is not there, so it says nothing."""

    readable: bool = False
    claim: str | None = None
    exit_json: bytes | None = None

    @property
    def is_untouched(self) -> bool:
        """It was read, and no job has begun its work in it."""
        return self.readable and self.claim is None and self.exit_json is None


async def read_dirs(remote: Remote, place: Place, jobs: Sequence[Job]) -> Mapping[str, JobDir]:
    """Return what the directories of these jobs say, by token."""
    found: dict[str, JobDir] = {}
    for start in range(0, len(jobs), _AT_ONCE):
        found |= await _read_some(remote, place, jobs[start : start + _AT_ONCE])
    return found


async def seal_dirs(remote: Remote, place: Place, jobs: Sequence[Job]) -> frozenset[str]:
    """Take the claims that nobody holds; return the tokens of those that are sealed now.

    What is sealed never started, and never will: whatever comes of it late finds the claim taken.
    """
    for start in range(0, len(jobs), _AT_ONCE):
        done = await remote.run(
            f"cd {quote(place.workdir)} || exit 3; while IFS= read -r p; do "
            '[ -d "$p" ] && ln -sT sealed "$p/claim" 2>/dev/null; done; exit 0',
            op="seal",
            stdin=_paths(jobs[start : start + _AT_ONCE]),
        )
        if done.status != 0:
            raise Unreachable(f"{remote.name}: cannot enter {place.workdir}: {done.said()}")
    found = await read_dirs(remote, place, jobs)
    return frozenset(token for token, each in found.items() if each.claim == SEALED)


def _paths(jobs: Sequence[Job]) -> bytes:
    return "".join(f"runs/{job.run_id}/jobs/{job.token}\n" for job in jobs).encode()


async def _read_some(remote: Remote, place: Place, jobs: Sequence[Job]) -> dict[str, JobDir]:
    done = await remote.run(
        f"{pieces.FUNCTIONS}cd {quote(place.workdir)} || exit 3; i=0; "
        'while IFS= read -r p; do [ -d "$p" ] && [ -r "$p" ] && say "dir.$i" ""; '
        'link "claim.$i" "$p/claim"; put "exit.$i" "$p/exit.json"; i=$((i + 1)); done',
        op="witness",
        stdin=_paths(jobs),
    )
    if done.status != 0:
        raise Unreachable(f"{remote.name}: cannot read {place.workdir}: {done.said()}")
    try:
        answer = pieces.parse(done.stdout)
    except ValueError as error:
        raise Unreachable(f"{remote.name}: garbled job directories: {error}") from error
    return {job.token: _job_dir(answer, i) for i, job in enumerate(jobs)}


def _job_dir(answer: Mapping[str, pieces.Piece], i: int) -> JobDir:
    claim, exit_json = answer.get(f"claim.{i}"), answer.get(f"exit.{i}")
    return JobDir(
        readable=f"dir.{i}" in answer,
        claim=claim.text if claim else None,
        exit_json=exit_json.data if exit_json else None,
    )


def parse_endpoint(data: bytes) -> Endpoint | None:
    """Read endpoint.json; None when it is not one. What it says reaches shells: it is checked."""
    said = _object(data)
    match said:
        case {
            "slurm_id": str(slurm_id),
            "generation": int(generation),
            "host": str(host),
            "ports": list(ports),
        } if all(type(port) is int and 0 < port < 65536 for port in ports):
            try:
                host = valid_host(host)
            except ValueError:
                return None
            image = said.get("image")
            return Endpoint(
                host=host,
                ports=tuple(ports),
                slurm_id=slurm_id,
                generation=generation,
                image=image if isinstance(image, str) and len(image) <= _DIGEST else None,
            )
    return None


def observation(job: Job, found: JobDir) -> Observation | None:
    """Return what exit.json says about this job; nothing when it is of another id or span."""
    text = (found.exit_json or b"").decode("utf-8", "replace")
    left = slurm.exit_json_observation(job.token, text)
    if left is None or (left.generation or 0) < job.generation:
        return None
    return left if left.slurm_id in (job.slurm_id, found.claim) else None


def is_of(job: Job, exit_json: bytes) -> bool:
    """Tell whether an exit.json is that of this job's last span."""
    left = slurm.exit_json_observation(job.token, exit_json.decode("utf-8", "replace"))
    return (
        left is not None
        and left.slurm_id == job.slurm_id
        and (left.generation or 0) >= job.generation
    )


def _object(data: bytes) -> dict[str, object]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def fits(job: Job, endpoint: Endpoint) -> bool:
    """Tell whether an endpoint is of the job's present life."""
    return endpoint.slurm_id == job.slurm_id and endpoint.generation == job.generation

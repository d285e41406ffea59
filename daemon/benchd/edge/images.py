"""Image files on a cluster's shared file system: look at one, make one on the login node."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from shlex import quote

from benchd.config import RuntimeSettings
from benchd.core import image_parts
from benchd.core.containers import shell_path
from benchd.core.image_builds import login_script
from benchd.core.image_looks import Found
from benchd.core.images import path_of
from benchd.core.model import Job
from benchd.edge import pieces
from benchd.edge.remote import Remote
from benchd.edge.shell import Completed, printable
from benchd.errors import Unreachable

# Seconds in which an image is made on the login node: as long as an image job may take.
MAKING = 3600.0
# Seconds for the digest of an image that somebody else put there: 30 GB at 50 MB/s.
SUMMING = 600.0
# Bytes of what a runtime says at last that are kept, and of a note that is believed.
_SAID, _NOTE = 8192, 65536
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """How making an image on the login node ended, and the last that was said."""

    status: int
    said: str


class ImageFiles:
    """The images of one cluster."""

    def __init__(
        self,
        remote: Remote,
        *,
        runtime: RuntimeSettings,
        channels: int,
        open: Callable[[], Awaitable[object]],  # noqa: A002 - what the cluster calls it
    ) -> None:
        self._remote = remote
        self._runtime = runtime
        self._open = open
        # Making one holds a session for long, and there must be another one for all else.
        self.may_make_here = channels > 1

    async def look(self, job: Job) -> Found:
        """Return what is at the place where an image job is to put its image."""
        await self._open()
        found = await self._look(job)
        anew = job.spec.container is not None and job.spec.container.force_rebuild
        if found.is_there and found.origin is None and not anew:
            with suppress(Unreachable):  # it takes too long; or the next look says so
                await self._sum(job)
            found = await self._look(job)
        return found

    async def _look(self, job: Job) -> Found:
        done = await self._remote.run(
            f'{_head(job)}[ ! -e "$I" ] || say stamp "$(benchd_stamp "$I")"; '
            'put note "$I.benchd.json"; if [ -d "$L" ] && ! benchd_is_dead "$L"; then '
            'say lock ""; put owner "$L/owner"; fi',
            op="image",
        )
        if done.status != 0:  # a variable that only compute nodes have: the job will see
            return Found()
        try:
            answer = pieces.parse(done.stdout)
        except ValueError as error:
            raise Unreachable(f"{self._remote.name}: garbled look at an image: {error}") from error
        stamp, note, owner = (answer.get(name) for name in ("stamp", "note", "owner"))
        origin = _origin(note.data, stamp.text) if stamp and note else None
        return Found(
            is_there=stamp is not None,
            digest=str((origin or {}).get("digest", "")),
            origin=origin,
            owner=printable(owner.data)[:200] if owner else "",
            is_locked="lock" in answer,
        )

    async def _sum(self, job: Job) -> None:
        """Write a note beside an image that has none, of its digest only; it need not succeed."""
        said = json.dumps({"schema": "benchd.image/1", "source": ""})[:-1] + ", "
        lines = (
            f"benchd_image={shell_path(path_of(job))} benchd_by={quote(job.token)}",
            f"benchd_part=$benchd_image benchd_mark=look-$$ benchd_origin={quote(said)}",
            *(image_parts.STAMP, image_parts.NOTE, "benchd_note"),
        )
        await self._script("\n".join(lines), op="image", timeout=SUMMING)

    async def free(self, job: Job, owner: str) -> None:
        """Take away a lock that is known to be nobody's any more."""
        await self._remote.run(
            f'{_head(job)}[ "$(tr -d "\\n" <"$L/owner")" != {quote(owner)} ] || rm -rf "$L"',
            op="image",
        )

    async def stop(self, job: Job) -> None:
        """End who makes it on the login node for this job: all of its group, if it is there.

        Its number may be somebody else's by now, so its command must name the job.
        """
        await self._remote.run(
            f'{_head(job)}read -r h p u b <"$L/owner" || exit 0; '
            f'[ "$h:$b" = "$(uname -n):"{quote(job.token)} ] && '
            f'grep -qF -e {quote(job.token)} "/proc/$p/cmdline" || exit 0; '
            'g=$(ps -o pgid= -p "$p") && kill -s TERM -- "-$((g))"',
            op="image",
        )

    async def make(self, job: Job) -> Made:
        """Make the image on the login node; an outcome that is not known is ``Unreachable``.

        Cut off, it goes on there, and its lock says so to the next look.
        """
        self._remote.breaker.require_closed()  # so long a call must not be what a circuit waits for
        done = await self._script(
            login_script(job.spec, job.token, self._runtime), op="make-image", timeout=MAKING
        )
        try:
            answer = pieces.parse(done.stdout)
            return Made(status=int(answer["status"].text), said=answer["said"].text)
        except (ValueError, KeyError) as error:
            where = f"{self._remote.name}: making {path_of(job)}"
            raise Unreachable(f"{where} ended without an answer: {done.said()}") from error

    async def _script(
        self,
        text: str,
        *,
        op: str,
        timeout: float,  # noqa: ASYNC109 - it also bounds the far side
    ) -> Completed:
        """Run a script, all of it or nothing, to its end also when the link is cut meanwhile."""
        script = text.encode()
        return await self._remote.run(
            f"trap '' PIPE; {pieces.FUNCTIONS}s=$(head -c {len(script)}; echo x); s=${{s%x}}; "
            f'[ "${{#s}}" -eq {len(script)} ] || exit 97; '
            f'o=$(nice bash -c "$s" benchd 2>&1 </dev/null | tail -c {_SAID}; '
            'exit "${PIPESTATUS[0]}"); say status "$?"; say said "$o"',
            op=op,
            stdin=script,
            timeout=timeout,
        )


def _head(job: Job) -> str:
    """Return the names and functions that every command about an image begins with."""
    return (
        f"{pieces.FUNCTIONS}{image_parts.IS_DEAD}; {image_parts.STAMP}; "
        f'I={shell_path(path_of(job))}; L="$I.lock"; '
    )


def _origin(note: bytes, stamp: str) -> dict[str, object] | None:
    """Return what lies beside an image, if it is about the image that is there."""
    try:
        said = json.loads(note[:_NOTE])
        about = json.loads("{" + stamp + "}")
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or any(said.get(key) != about[key] for key in about):
        return None
    if not _DIGEST.fullmatch(str(said.get("digest", ""))):
        return None
    return {str(key): value for key, value in said.items()}

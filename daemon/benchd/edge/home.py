"""A cluster's working directory: where it really is, and whether it is still ours to write.

Every daemon start raises a number in it, the epoch, and every submission checks it. A second
daemon with the same state, or one whose state came back from a backup, finds another number than
it knows and stops before it submits what somebody else has submitted already.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from shlex import quote
from typing import Protocol

from benchd.edge import pieces
from benchd.edge.remote import Remote
from benchd.edge.submission import Place, epoch_mismatch
from benchd.errors import NeedsHuman, Unreachable

# What may stand in an absolute workdir: sbatch expands % and \ in --output, and reads white space.
_SAFE = re.compile(r"/[A-Za-z0-9_./+@:,=-]*")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Epoch:
    """The number we know (None: never opened) and the one we were about to write."""

    confirmed: int | None = None
    pending: int | None = None


class Words(Protocol):
    """Remembers words under keys, durably."""

    async def meta(self, key: str) -> str | None:
        """Return a word."""
        ...

    async def set_meta(self, key: str, value: str) -> None:
        """Remember a word, durably, before returning."""
        ...


class StoredEpoch:
    """Keeps the epoch of one cluster under one key, as ``<confirmed> <pending>``."""

    def __init__(self, words: Words, cluster: str) -> None:
        self._words = words
        self._key = f"epoch:{cluster}"

    async def get(self) -> Epoch:
        """Return what is stored."""
        numbers = [
            int(w) if w.isdigit() else None
            for w in (await self._words.meta(self._key) or "- -").split()
        ]
        return Epoch(*numbers)

    async def set(self, epoch: Epoch) -> None:
        """Store it."""
        numbers = (epoch.confirmed, epoch.pending)
        await self._words.set_meta(
            self._key, " ".join("-" if n is None else str(n) for n in numbers)
        )


def shell_word(workdir: str) -> str:
    """Return a configured path as a word of bash: ``~`` and variables expand, nothing else does."""
    text = "${HOME}" + workdir[1:] if workdir == "~" or workdir.startswith("~/") else workdir
    word, at = "", 0
    for found in _VARIABLE.finditer(text):
        literal = text[at : found.start()]
        word += (quote(literal) if literal else "") + f'"${{{found[1] or found[2]}:?}}"'
        at = found.end()
    return word + (quote(text[at:]) if text[at:] else "")


async def enter(
    remote: Remote,
    *,
    workdir: str,
    instance: str,
    epochs: StoredEpoch,
    clock: Callable[[], float],
    take_over: bool = False,
) -> Place:
    """Find the workdir, check and raise its epoch; ``NeedsHuman`` when it is not ours."""
    known = await epochs.get()
    fresh = known.confirmed is None  # also after a crash in the very first opening
    home, found, skew = await _visit(remote, workdir, instance, clock, make=fresh or take_over)
    place = Place(workdir=home, instance=instance, epoch=known.confirmed or 0, skew=skew)
    ours = {"" if fresh else None, _text(known.confirmed), _text(known.pending)}
    if found not in ours and not take_over:
        raise epoch_mismatch(remote.name, place, found)
    old = int(found) if found.isdigit() else 0
    new = max(old, known.confirmed or 0, known.pending or 0) + 1
    # What was found is ours, be it that an answer to the last raising was lost. Should this raising
    # not even arrive, it is found again.
    ours_now = old if found and found in ours else known.confirmed
    await epochs.set(Epoch(ours_now, new))
    await _raise(remote, place, old, new)
    await epochs.set(Epoch(new))
    return Place(workdir=home, instance=instance, epoch=new, skew=skew)


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


async def _visit(
    remote: Remote, workdir: str, instance: str, clock: Callable[[], float], *, make: bool
) -> tuple[str, str, float]:
    """Return the absolute workdir, the epoch in it, and our clock minus its file server's."""
    # Only the last level is made: a missing parent is a typing error or a missing mount.
    missing = 'm=$(mkdir "$w" 2>&1) || stop missing "$m"' if make else 'stop missing "no such path"'
    done = await remote.run(
        f'{pieces.FUNCTIONS}stop() {{ say stop "$1"; say said "$2"; exit 0; }}; '
        f'w={shell_word(workdir)}; [ -d "$w" ] || {{ {missing}; }}; '
        'W=$(cd "$w" && pwd -P) || stop missing "cannot enter it"; say home "$W"; '
        't=$(mktemp "$W/.clock.XXXXXX" 2>&1) || stop closed "$t"; '
        'say now "$(stat -c %Y "$t")"; rm -f "$t"; '
        f'put epoch "$W/epoch-{instance}"',
        op="open",
    )
    now = clock()
    if done.status != 0:
        raise NeedsHuman(
            f"{remote.name}: the workdir {workdir!r} has no value on the login node: {done.said()}"
        )
    found = _parsed(remote, done.stdout)
    if "stop" in found:
        advice = "make it, or set `workdir` to a shared directory that you may write"
        what = "does not exist" if found["stop"].text == "missing" else "is not writable"
        said = found["said"].text
        raise NeedsHuman(f"{remote.name}: the workdir {workdir} {what} ({said}): {advice}")
    home = found["home"].text
    if _SAFE.fullmatch(home) is None:
        raise NeedsHuman(
            f"{remote.name}: the workdir {home!r} has characters that sbatch would not take "
            "literally; choose one of letters, digits and _ . / + @ : , = -"
        )
    epoch = found["epoch"].text if "epoch" in found else ""
    return home, epoch, now - float(found["now"].text)


async def _raise(remote: Remote, place: Place, old: int, new: int) -> None:
    """Write the new epoch; two who raise it at once cannot both win the ``mkdir``."""
    stem = quote(f"{place.workdir}/epoch-{place.instance}")
    done = await remote.run(
        f'umask 077; E={stem}; mkdir "$E.{new}" || exit 9; printf \'%s\\n\' {new} >"$E.tmp" '
        f'&& mv -T "$E.tmp" "$E" || exit 8; rmdir "$E.{old}" 2>/dev/null; exit 0',
        op="open",
    )
    if done.status == 9:
        raise epoch_mismatch(remote.name, place, str(new))
    if done.status != 0:
        raise Unreachable(f"{remote.name}: cannot write {stem}: {done.said()}")


def _parsed(remote: Remote, answer: bytes) -> dict[str, pieces.Piece]:
    try:
        return dict(pieces.parse(answer))
    except ValueError as error:
        raise Unreachable(f"{remote.name}: garbled answer about the workdir: {error}") from error

"""A cluster's working directory: where it really is, and whether it is still ours to write.

Every daemon start raises a number in it, the epoch, and every submission checks it. A second
daemon with the same state, or one whose state came back from a backup, finds another number than
it knows and stops before it submits what somebody else has submitted already.

The number is a cluster's, not the workdir's: login nodes of two clusters may share their files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
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
    look = await _visit(remote, workdir, instance, clock, make=fresh or take_over)
    found, place = look.epoch, replace(look.place, epoch=known.confirmed or 0)
    if not _is_ours(found, known) and not take_over:
        raise epoch_mismatch(place, found, look.name)
    old = int(found) if found.isdigit() else 0
    new = max(old, known.confirmed or 0, known.pending or 0) + 1
    # What was found is ours, or was taken over. Should this raising not even arrive, it is found
    # again.
    await epochs.set(Epoch(old if found.isdigit() else known.confirmed, new))
    await _raise(remote, look, old, new)
    await epochs.set(Epoch(new))
    return replace(place, epoch=new)


def _is_ours(found: str, known: Epoch) -> bool:
    """Tell whether the epoch that was found is one that we wrote, or that we overtook.

    Whoever raises an epoch makes it higher than what it found. So a lower number than ours is of a
    raising that was given up for lost, went on, and landed late; whose it was no longer matters,
    since it is raised again.
    """
    if not found:
        return known.confirmed is None
    return found.isdigit() and int(found) <= max(known.confirmed or 0, known.pending or 0)


@dataclass(frozen=True, slots=True)
class _Look:
    """What was found in the workdir: where it is, and the epoch in the file of this name."""

    place: Place
    epoch: str
    name: str


async def _visit(
    remote: Remote, workdir: str, instance: str, clock: Callable[[], float], *, make: bool
) -> _Look:
    """Find the workdir and what epoch it says."""
    # Only the last level is made: a missing parent is a typing error or a missing mount. Another
    # cluster that shares the workdir may make it at the same time.
    makes = 'm=$(mkdir "$w" 2>&1) || [ -d "$w" ] || stop missing "$m"'
    missing = makes if make else 'stop missing "no such path"'
    name, old = f"epoch-{instance}-{remote.name}", f"epoch-{instance}"
    done = await remote.run(
        f'{pieces.FUNCTIONS}stop() {{ say stop "$1"; say said "$2"; exit 0; }}; '
        f'w={shell_word(workdir)}; [ -d "$w" ] || {{ {missing}; }}; '
        'W=$(cd "$w" && pwd -P) || stop missing "cannot enter it"; say home "$W"; '
        't=$(mktemp "$W/.clock.XXXXXX" 2>&1) || stop closed "$t"; '
        'say now "$(stat -c %Y "$t")"; rm -f "$t"; '
        f'put epoch "$W/{name}"; put old "$W/{old}"',
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
    skew = now - float(found["now"].text)
    place = Place(workdir=home, instance=instance, cluster=remote.name, epoch=0, skew=skew)
    if "epoch" not in found and "old" in found:
        return _Look(place, found["old"].text, old)
    return _Look(place, found["epoch"].text if "epoch" in found else "", name)


async def _raise(remote: Remote, look: _Look, old: int, new: int) -> None:
    """Write the new epoch; two who raise it at once cannot both win the ``mkdir``.

    An epoch of an older benchd, whose name has no cluster in it, gets its new name first.
    """
    place = look.place
    stem, move = quote(f"{place.workdir}/{place.epoch_name}"), ""
    if look.name != place.epoch_name:
        found = quote(f"{place.workdir}/{look.name}")
        move = f'O={found}; mv -T "$O" "$E" || exit 8; rmdir "$O.{old}" 2>/dev/null; '
    done = await remote.run(
        f'umask 077; E={stem}; {move}mkdir "$E.{new}" || exit 9; printf \'%s\\n\' {new} >"$E.tmp" '
        f'&& mv -T "$E.tmp" "$E" || exit 8; rmdir "$E.{old}" 2>/dev/null; exit 0',
        op="open",
    )
    if done.status == 9:
        raise epoch_mismatch(place, str(new))
    if done.status != 0:
        raise Unreachable(f"{remote.name}: cannot write {stem}: {done.said()}")


def _parsed(remote: Remote, answer: bytes) -> dict[str, pieces.Piece]:
    try:
        return dict(pieces.parse(answer))
    except ValueError as error:
        raise Unreachable(f"{remote.name}: garbled answer about the workdir: {error}") from error

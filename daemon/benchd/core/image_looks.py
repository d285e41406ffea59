"""What a look at an image file means for the job that makes it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchd.core.images import commands_hash, path_of, source_of
from benchd.core.model import Job
from benchd.core.spec import Container

# Lines, and characters, of what a runtime said at last that are quoted: its reason is in the last
# few, and often not in the very last one.
LINES, LETTERS = 4, 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a look at an image file found. ``origin``: what it was made from, if that is known."""

    is_there: bool = False
    digest: str = ""
    origin: Mapping[str, object] | None = None
    owner: str = ""  # of a lock whose holder seems to be at work: host, process, user, token
    is_locked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class There:
    """The image can be used as it is."""

    detail: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """The image cannot be had as the recipe says: a human must say what is meant.

    ``said`` and ``status``: of what was tried. ``may_pass``: another try may go better.
    """

    why: str
    may_pass: bool = False
    said: str = ""
    status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Somebody else is making it. ``by``: their token, when they are a benchd's job."""

    owner: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """It has to be made."""


def judged(job: Job, found: Found) -> There | Wrong | Busy | Missing:
    """Return what a look means for an image job."""
    box, path = job.spec.container or Container(), path_of(job)
    origin = found.origin or {}
    own_run = job.token.partition(f"-{job.run_id}-")[0] + f"-{job.run_id}-"
    # Without a source somebody looked at what was there already, and wrote down its digest.
    made_here = bool(origin.get("source")) and str(origin.get("by", "")).startswith(own_run)
    if found.is_there and (not box.force_rebuild or made_here):
        if (why := difference(box, origin, path)) and not made_here:
            return Wrong(why=why)
        what = "was made for this run" if made_here else "is there already"
        digest = found.digest or "its digest is not known"
        return There(detail=f"the image {what}: {path}, {digest}", digest=digest)
    if found.is_locked:
        by = found.owner.split()[3:4]
        return Busy(owner=found.owner, by=by[0] if by else "")
    return Missing()


def difference(box: Container, origin: Mapping[str, object], path: str) -> str:
    """Return how an image differs from what the recipe says it is made from; empty if not."""
    source, commands = origin.get("source"), origin.get("commands", "")
    wanted = source_of(box)
    if not source:  # nobody wrote down what it is; whoever put it there knows
        return ""
    if source != wanted:
        what = f"was made from {source}, and the recipe says {wanted}"
    elif commands != commands_hash(box):
        what = f"was made from {source} by other build_commands than the recipe's"
    else:
        return ""
    return f"{path} {what}: use another image_path, or force_rebuild: true to make it anew"


def last_lines(output: str) -> str:
    """Return the last lines of what a program wrote, as one printable line."""
    lines = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    words = " | ".join(lines[-LINES:])
    return "".join(c for c in words if c.isprintable())[-LETTERS:]

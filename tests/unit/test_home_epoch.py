"""The epoch of a workdir, over a link that loses answers and commands."""

from __future__ import annotations

import re
from typing import Any

import pytest

from benchd.edge.home import StoredEpoch, enter
from benchd.edge.shell import Completed
from benchd.errors import NeedsHuman, Unreachable

pytestmark = pytest.mark.asyncio

WORKDIR = "/scratch/benchd"


class Words:
    """What a daemon remembers."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def meta(self, key: str) -> str | None:
        """Return a word."""
        return self.kept.get(key)

    async def set_meta(self, key: str, value: str) -> None:
        """Remember a word."""
        self.kept[key] = value


class Node:
    """A login node with one epoch file.

    ``fate`` of each raising: done, lost (but done), unsent, or late (done after the next one).
    """

    name = "alpha"

    def __init__(self, *fate: str) -> None:
        self.epoch = ""
        self._fate = list(fate)
        self._late: list[str] = []

    async def run(self, command: str, **_how: Any) -> Completed:
        """Answer the two commands of an opening."""
        if "mktemp" in command:
            said = {"home": WORKDIR, "now": "1700000000"}
            said |= {"epoch": self.epoch} if self.epoch else {}
            return self._answer("".join(f"{k} {len(v)} 0\n{v}\n" for k, v in said.items()))
        fate = self._fate.pop(0) if self._fate else "done"
        number = re.findall(r"printf '%s\\n' (\d+)", command)[0]
        if fate in ("done", "lost"):
            self.epoch = number
        self.epoch = self._late.pop() if self._late else self.epoch
        self._late += [number] if fate == "late" else []
        if fate != "done":
            raise Unreachable("the link broke", sent=fate != "unsent")
        return self._answer("")

    def _answer(self, text: str) -> Completed:
        return Completed(status=0, stdout=text.encode(), stderr=b"", seconds=0.1)


@pytest.mark.parametrize(
    "fate",
    [
        ("lost", "unsent"),
        ("unsent", "lost"),
        ("lost", "lost", "unsent"),
        ("unsent", "unsent"),
        ("late", "unsent"),
        ("late", "lost", "unsent"),
    ],
    ids=" then ".join,
)
@pytest.mark.parametrize("before", ["", "1 -"], ids=["first opening", "later opening"])
async def test_raisings_lost_in_a_row_leave_a_workdir_that_is_ours(
    fate: tuple[str, ...], before: str
) -> None:
    """Whatever raisings of the epoch were lost, late or never sent, the next opening succeeds."""
    words, node = Words(), Node(*fate)
    if before:
        words.kept["epoch:alpha"], node.epoch = before, before.split(maxsplit=1)[0]
    epochs = StoredEpoch(words, "alpha")
    remote: Any = node
    for _ in fate:
        with pytest.raises(Unreachable, match="the link broke"):
            await enter(
                remote,
                workdir=WORKDIR,
                instance="bq7x2m",
                epochs=epochs,
                clock=lambda: 1_700_000_000.0,
            )
    place = await enter(
        remote, workdir=WORKDIR, instance="bq7x2m", epochs=epochs, clock=lambda: 1_700_000_000.0
    )
    assert (node.epoch, f"{place.epoch} -") == (str(place.epoch), words.kept["epoch:alpha"])


@pytest.mark.parametrize("found", ["5", "7", "x", ""])
async def test_an_epoch_that_was_never_announced_is_foreign(found: str) -> None:
    """Beyond the announced one, none, or no number: somebody else was here."""
    words, node = Words(), Node()
    words.kept["epoch:alpha"], node.epoch = "2 4", found
    remote: Any = node
    with pytest.raises(NeedsHuman, match="another benchd"):
        await enter(
            remote,
            workdir=WORKDIR,
            instance="bq7x2m",
            epochs=StoredEpoch(words, "alpha"),
            clock=lambda: 1_700_000_000.0,
        )
    assert ("2 4", found) == (words.kept["epoch:alpha"], node.epoch)

"""The epoch of a workdir, over a link that loses answers and commands."""

from __future__ import annotations

import re
from typing import Any

import pytest

from benchd.edge.home import StoredEpoch, enter
from benchd.edge.shell import Completed
from benchd.errors import Unreachable

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
    """A login node with one epoch file. ``fate`` of each raising: done, lost (but done), unsent."""

    name = "alpha"

    def __init__(self, *fate: str) -> None:
        self.epoch = ""
        self._fate = list(fate)

    async def run(self, command: str, **_how: Any) -> Completed:
        """Answer the two commands of an opening."""
        if "mktemp" in command:
            said = {"home": WORKDIR, "now": "1700000000"}
            said |= {"epoch": self.epoch} if self.epoch else {}
            return self._answer("".join(f"{k} {len(v)} 0\n{v}\n" for k, v in said.items()))
        fate = self._fate.pop(0) if self._fate else "done"
        if fate != "unsent":
            self.epoch = re.findall(r"printf '%s\\n' (\d+)", command)[0]
        if fate != "done":
            raise Unreachable("the link broke", sent=fate == "lost")
        return self._answer("")

    def _answer(self, text: str) -> Completed:
        return Completed(status=0, stdout=text.encode(), stderr=b"", seconds=0.1)


@pytest.mark.parametrize(
    "fate",
    [("lost", "unsent"), ("unsent", "lost"), ("lost", "lost", "unsent"), ("unsent", "unsent")],
    ids=" then ".join,
)
@pytest.mark.parametrize("before", ["", "1 -"], ids=["first opening", "later opening"])
async def test_lost_raisings_in_a_row_leave_a_workdir_that_is_ours(
    fate: tuple[str, ...], before: str
) -> None:
    """However many raisings of the epoch were lost or never sent, the next opening succeeds."""
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

"""The gate of a cluster: while it is paused nothing passes, and a refusal closes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from benchd.config import Budget
from benchd.edge.breaker import Breaker
from benchd.edge.budget import Purse
from benchd.edge.remote import Gate, Remote
from benchd.edge.shell import Completed, LoginRefused, Paused
from benchd.errors import NeedsHuman
from benchd.metrics import Metrics

pytestmark = pytest.mark.asyncio
Ask = Callable[[Remote], Awaitable[object]]
ASKS: dict[str, Ask] = {
    "command": lambda remote: remote.run("true", op="files"),
    "question": lambda remote: remote.ask("squeue", program="squeue", op="poll"),
    "connection": lambda remote: remote.connect("node-1", 80, 1.0),
}


class Door:
    """A shell that refuses us, and the notes of who keeps the gate."""

    def __init__(self) -> None:
        self.knocked = 0
        self.paused: str | None = None
        self.closed: list[str] = []

    async def run(self, *_what: object, **_how: object) -> Completed:
        """Refuse a command."""
        self.knocked += 1
        raise LoginRefused("alpha: refuses the key")

    async def connect(self, *_where: object) -> object:
        """Refuse a connection."""
        self.knocked += 1
        raise LoginRefused("alpha: refuses the key")

    async def close(self, error: NeedsHuman) -> None:
        """Note why, as the engine does."""
        self.closed.append(str(error))
        self.paused = str(error)

    def remote(self) -> Remote:
        """Return the way to it."""
        shell: Any = self
        metrics = Metrics()
        purse = Purse("alpha", Budget(), metrics=metrics, clock=lambda: 0.0)
        return Remote(
            "alpha",
            shell,
            gate=Gate(lambda: self.paused, self.close),
            purse=purse,
            breaker=Breaker("alpha", metrics=metrics, clock=lambda: 0.0),
        )


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
async def test_nothing_passes_while_paused(ask: Ask) -> None:
    """Whatever is asked is answered with why, unsent and unpaid."""
    door = Door()
    door.paused = "by hand"
    remote = door.remote()
    before = remote.purse.tokens
    with pytest.raises(Paused, match=r"^alpha is paused: by hand$") as said:
        await ask(remote)
    assert (False, 0, [], before) == (
        said.value.sent,
        door.knocked,
        door.closed,
        remote.purse.tokens,
    )


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
async def test_a_refusal_closes_the_gate_for_all(ask: Ask) -> None:
    """Whoever meets a refusal first tells; the next one does not knock any more."""
    door = Door()
    remote = door.remote()
    with pytest.raises(LoginRefused):
        await ask(remote)
    for each in ASKS.values():
        with pytest.raises(Paused):
            await each(remote)
    assert (1, ["alpha: refuses the key"]) == (door.knocked, door.closed)

"""What processes of the load generator say to each other."""

from __future__ import annotations

import asyncio
import socket

import pytest

from benchd.ship.load.workers import Channel
from support.truth import PATIENCE


@pytest.mark.asyncio
async def test_messages_stay_apart() -> None:
    """Messages that are too large to be sent in one go come whole, whoever says them at once."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        here, there = Channel(ours), Channel(theirs)
        messages = [letter * 5_000_000 for letter in "abc"]
        saying = asyncio.gather(*[here.say(message) for message in messages])
        async with asyncio.timeout(PATIENCE):
            heard = [await there.hear() for _ in messages]
            await saying
    assert heard == messages

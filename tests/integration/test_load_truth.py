"""The load generator against a server that knows what really happened."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.truth import SHIP
from support.truth_checks import CHECKS


@pytest.mark.asyncio
@pytest.mark.parametrize("name", CHECKS)
async def test_truth(name: str, tmp_path: Path) -> None:
    """Every number is the one that follows from what the server logged."""
    await CHECKS[name](SHIP, tmp_path / "out")

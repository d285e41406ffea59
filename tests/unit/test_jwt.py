"""The token for slurmrestd: where it comes from, when it is renewed, and that nobody is told it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from benchd.config import RestSettings
from benchd.edge.jwt import RENEWAL, Token, end_of
from benchd.edge.shell import Completed
from benchd.errors import Unreachable

pytestmark = pytest.mark.asyncio

NOW = 1_700_000_000.0


def token(end: float | None, name: str = "a") -> str:
    """Return a token that ends then."""
    said = {"sun": "me"} if end is None else {"sun": "me", "exp": int(end)}
    parts = [{"alg": "HS256"}, said]
    words = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts]
    return ".".join([*words, f"signature-{name}"])


@dataclass
class Host:
    """This host: prints what it is told to, one after the other; and its clock."""

    prints: list[str] = field(default_factory=list)
    status: int = 0
    says: str = ""
    now: float = NOW
    runs: int = 0

    async def run(self, _command: str, **_: Any) -> Completed:
        """Print the next."""
        self.runs += 1
        out = self.prints.pop(0) if self.prints else ""
        return Completed(
            status=self.status, stdout=out.encode(), stderr=self.says.encode(), seconds=0.0
        )

    def token(self, **settings: Any) -> Token:
        """Return the token of a cluster."""
        told = RestSettings(url="http://h:6820", **settings)
        return Token("alpha", told, shell=cast("Any", self), clock=lambda: self.now)


async def test_a_command_is_run_again_shortly_before_the_token_ends() -> None:
    """One run serves many requests; the next comes a minute before the end, and not earlier."""
    first, second = token(NOW + 600, "first"), token(NOW + 1200, "second")
    host = Host([f"SLURM_JWT={first}\n", f"a banner\n{second}\n"])
    kept = host.token(token_command="x")
    seen = [await kept.get(), await kept.get()]
    host.now = NOW + 600 - RENEWAL - 1
    seen.append(await kept.get())
    host.now += 1
    seen.append(await kept.get())
    assert ([first, first, first, second], 2) == (seen, host.runs)


async def test_a_token_that_lives_for_less_than_that_is_used_all_the_same() -> None:
    """What a command prints is used until its end, however near that is."""
    host = Host([token(NOW + 30)] * 2)
    assert token(NOW + 30) == await host.token(token_command="x").get()


async def test_another_one_is_fetched_once_for_a_refused_one() -> None:
    """After a refusal the command is asked again; where it has none, the old one stays."""
    host = Host([token(NOW + 600, "first"), token(NOW + 600, "second")])
    kept = host.token(token_command="x")
    first = await kept.get()
    assert await kept.other_than(first)
    second = await kept.get()
    host.status = 1
    assert not await kept.other_than(second)
    assert second == await kept.get()


async def test_a_file_is_read_each_time(tmp_path: Path) -> None:
    """A new token in the file is used at once, and is what a refusal looks for."""
    file, host = tmp_path / "token", Host()
    file.touch(mode=0o600)
    kept = host.token(token_file=str(file))
    file.write_text(token(NOW + 5, "first"))
    first = await kept.get()
    assert not await kept.other_than(first)
    file.write_text(token(None, "second") + "\n")
    assert await kept.other_than(first)
    assert token(None, "second") == await kept.get()


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        (None, 0, r"cannot be read \(No such file or directory\)"),
        (token(NOW - 1), 0o600, r"ended at 2023-11-14 22:13:19 UTC: make a new one"),
        (token(None), 0o644, r"can be read by others: run `chmod 600"),
        ("not a token", 0o600, r"is no JSON web token: `scontrol token"),
        ("", 0o600, r"is no JSON web token"),
    ],
)
async def test_a_file_that_gives_none_says_why(
    tmp_path: Path, text: str | None, mode: int, why: str
) -> None:
    """Nothing is sent without a token, and the message says what to do, but no token."""
    file = tmp_path / "token"
    if text is not None:
        file.touch(mode=mode)
        file.write_text(text)
    with pytest.raises(Unreachable, match=why) as caught:
        await Host().token(token_file=str(file)).get()
    assert not caught.value.sent
    assert "signature" not in str(caught.value)


async def test_a_command_that_fails_is_quoted_without_a_token() -> None:
    """Its complaint is shown; what looks like a token in it is not."""
    host = Host(status=1, says=f"scontrol: error: {token(None)} is not for you")
    with pytest.raises(Unreachable, match=r"status 1: scontrol: error: \[redacted\] is not"):
        await host.token(token_command="x").get()


async def test_without_file_or_command_there_is_none() -> None:
    """A Unix socket may know its users by other means."""
    assert await Host().token().get() == ""


@pytest.mark.parametrize("text", ["", "a.b.c", "a..c", "a.bm90IGpzb24.c", "no-dots", "a.W10.c"])
async def test_a_token_that_says_no_end_has_none(text: str) -> None:
    """What cannot be read is left to Slurm to judge."""
    assert end_of(text) is None

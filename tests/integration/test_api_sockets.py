"""Where the interface listens, whom it lets in, and how long it waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from benchd.api import door, guard, upkeep
from benchd.api.door import Door
from benchd.cli import upkeep as ctl_upkeep
from benchd.config import HttpSettings
from benchd.errors import UserError
from support.builders import run
from support.house import House

pytestmark = pytest.mark.asyncio
REQUEST = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"


def loopback(**over: Any) -> HttpSettings:
    return HttpSettings(**{"listen": "127.0.0.1:0", **over})


async def status_of(port: int, path: str, **headers: str) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}", headers=headers) as response,
    ):
        return response.status


async def holds(condition: Callable[[], bool]) -> bool:
    """Wait for something that another task brings about."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the loop itself is what makes it true
            await asyncio.sleep(0)
    return True


async def test_the_socket_is_closed_to_others(tmp_path: Path) -> None:
    """Directory and socket have their modes, and the socket is gone after the end."""
    path = tmp_path / "run" / "control.sock"
    async with House(path).open():
        modes = [stat.S_IMODE(p.stat().st_mode) for p in (path.parent, path)]
        names = [p.name for p in path.parent.iterdir()]
    assert (modes, names, path.exists()) == ([0o750, 0o660], ["control.sock"], False)


async def test_a_socket_that_nobody_answers_is_replaced(tmp_path: Path) -> None:
    """What a killed daemon left behind does not keep the next one from starting."""
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with House(path).open():
        assert path.is_socket()


async def test_a_socket_that_somebody_answers_is_left_alone(tmp_path: Path) -> None:
    """A second daemon on the same socket is refused, and the first one keeps it."""
    first = House(tmp_path / "control.sock")
    async with first.open():
        with pytest.raises(UserError, match="another benchd answers"):
            async with House(first.path).open():
                pass
        reader, writer = await asyncio.open_unix_connection(str(first.path))
        writer.write(REQUEST)
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        await writer.wait_closed()


async def test_a_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    """Only a socket is ever removed."""
    path = tmp_path / "control.sock"
    path.write_text("precious")
    with pytest.raises(UserError, match="is not a socket"):
        async with House(path).open():
            pass
    assert path.read_text() == "precious"


async def test_a_path_too_long_for_the_kernel_is_refused(tmp_path: Path) -> None:
    """The kernel's limit is said, with the setting to change."""
    with pytest.raises(UserError, match=r"too long for the kernel .*set `socket:`"):
        async with House(tmp_path / ("x" * 120) / "control.sock").open():
            pass


async def test_the_kernel_says_who_asks(tmp_path: Path) -> None:
    """A wish is noted under the uid that the kernel gives for the peer, whatever it claims."""
    async with House(tmp_path / "s").open() as house:
        connector = aiohttp.UnixConnector(str(house.path))
        async with (
            aiohttp.ClientSession("http://x", connector=connector) as session,
            session.post("/v1/cancel", json={"all": True}, headers={"X-Uid": "0"}) as response,
        ):
            assert response.status == 202
    assert [uid for uid, _, _ in house.reads.notes] == [os.getuid()]


async def test_tcp_reads_and_does_nothing(tmp_path: Path) -> None:
    """On TCP there are metrics and questions; wishes have no route there."""
    async with House(tmp_path / "s", http=loopback()).open() as house:
        assert house.port is not None
        answers = [await status_of(house.port, p) for p in ("/metrics", "/healthz", "/v1/runs")]
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://127.0.0.1:{house.port}/v1/cancel", json={"all": True}) as reply,
        ):
            answers.append(reply.status)
    assert (answers, house.control.wishes) == ([200, 200, 200, 404], [])


async def test_a_web_page_cannot_read_through_a_rebound_name(tmp_path: Path) -> None:
    """A request on loopback under a foreign host name is refused."""
    async with House(tmp_path / "s", http=loopback()).open() as house:
        assert house.port is not None
        got = [await status_of(house.port, "/v1/runs", Host=h) for h in ("evil.example", "[::1]:1")]
    assert got == [403, 200]


async def test_a_token_is_asked_for_and_compared(tmp_path: Path) -> None:
    """With a token file, TCP answers only to who shows the token."""
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    token.chmod(0o600)
    settings = loopback(token_file=str(token))
    async with House(tmp_path / "s", http=settings).open() as house:
        assert house.port is not None
        got = [
            await status_of(house.port, "/metrics"),
            await status_of(house.port, "/metrics", Authorization="Bearer wrong"),
            await status_of(house.port, "/metrics", Authorization="Bearer 0123456789abcdef"),
        ]
    assert got == [401, 401, 200]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"listen": "0.0.0.0:0"}, "set http.token_file"),
        ({"listen": "nonsense"}, "is not HOST:PORT"),
        ({"listen": "127.0.0.1:99999"}, "is not HOST:PORT"),
        ({"token_file": "/nonexistent"}, "cannot read"),
    ],
)
async def test_a_place_that_must_not_be_listened_on(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    """Off loopback without a token, or a place that is none, is refused; nothing stays behind."""
    path = tmp_path / "s"
    with pytest.raises(UserError, match=words):
        async with House(path, http=loopback(**settings)).open():
            pass
    assert not path.exists()


async def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    """Another program on the port is named as the likely cause, with the setting."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = loopback(listen=f"127.0.0.1:{other.getsockname()[1]}")
        with pytest.raises(UserError, match=r"cannot listen on .* set http.listen"):
            async with House(tmp_path / "s", http=settings).open():
                pass


async def test_slow_clients_do_not_keep_others_out(tmp_path: Path) -> None:
    """With 40 clients that never finish their header, an honest one is answered at once."""
    async with House(tmp_path / "s").open() as house:
        slow = [await asyncio.open_unix_connection(str(house.path)) for _ in range(40)]
        for _, writer in slow:
            writer.write(b"GET /v1/status HTTP/1.1\r\nX: ")
        reader, writer = await asyncio.open_unix_connection(str(house.path))
        writer.write(REQUEST)
        async with asyncio.timeout(door.HEADER_PATIENCE / 2):
            assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        for _, each in [*slow, (reader, writer)]:
            each.close()


async def test_who_does_not_finish_a_header_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection without a complete header is closed when its time is over."""
    monkeypatch.setattr(door, "HEADER_PATIENCE", 0.05)
    async with House(tmp_path / "s").open() as house:
        reader, writer = await asyncio.open_unix_connection(str(house.path))
        writer.write(b"GET /v1/sta")
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionResetError):  # an abort may show as either
                assert (await reader.read()) == b""
        writer.close()


async def test_a_body_that_never_comes_has_a_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request whose body is missing is answered with 504 when its time is over."""
    monkeypatch.setattr(guard, "REQUEST_DEADLINE", 0.05)
    async with House(tmp_path / "s").open() as house:
        house.reads.run_rows.append(run())
        late = b"POST /v1/runs?name=a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
        assert (await _first_line(house.path, late)).startswith(b"HTTP/1.1 504")


@pytest.mark.parametrize("path", ["reap", "gc", "clusters/alpha/adopt"])
async def test_what_works_on_clusters_is_not_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """It is answered in the end, although a question that began later was given up meanwhile."""
    monkeypatch.setattr(guard, "REQUEST_DEADLINE", 0.05)
    assert guard.REQUEST_DEADLINE < upkeep.DEADLINE < ctl_upkeep.PATIENCE
    house = House(tmp_path / "s")
    house.keeping.slow = asyncio.Event()
    connector = aiohttp.UnixConnector(path=str(house.path))
    async with house.open(), aiohttp.ClientSession(connector=connector) as session:
        asked = session.post(f"http://benchd/v1/{path}", json={"slurm_id": "99"})
        patient = asyncio.ensure_future(asked)
        assert await holds(lambda: house.keeping.wishes != [])
        late = b"POST /v1/runs?name=a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
        assert (await _first_line(house.path, late)).startswith(b"HTTP/1.1 504")
        house.keeping.slow.set()
        assert 2 == (await patient).status // 100


async def _first_line(path: Path, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(request)
    async with asyncio.timeout(10):
        line = await reader.readline()
    writer.close()
    return line


async def test_a_full_house_says_so() -> None:
    """The connection above the limit gets 503 and is closed; a free place is given away again."""
    full = Door(limit=1)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(full.protocols(asyncio.Protocol), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, first = await asyncio.open_connection("127.0.0.1", port)
    await holds(lambda: full.visitors == 1)
    reader, second = await asyncio.open_connection("127.0.0.1", port)
    refused = await reader.read()
    first.close()
    assert (refused.startswith(b"HTTP/1.1 503"), refused.endswith(b"}}\n")) == (True, True)
    assert await holds(lambda: full.visitors == 0)
    second.close()
    server.close()


async def test_odd_bytes_are_answered_with_400(tmp_path: Path) -> None:
    """What is no HTTP, and a line that never ends, are refused without harm to the next one."""
    async with House(tmp_path / "s").open() as house:
        for noise in (b"\x00\xff\r\n\r\n", b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_unix_connection(str(house.path))
            writer.write(noise)
            async with asyncio.timeout(10):
                assert (await reader.readline()).startswith(b"HTTP/1.")
            writer.close()
        reader, writer = await asyncio.open_unix_connection(str(house.path))
        writer.write(REQUEST)
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        writer.close()

"""The interface under attack: an honest client is answered meanwhile, and nothing breaks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from benchd.access import Access
from benchd.api import door, guard
from benchd.api.server import SOCKET_VISITORS, TCP_VISITORS, USER_VISITORS
from benchd.config import HttpSettings
from support.builders import job, run
from support.house import House

pytestmark = pytest.mark.asyncio
REQUEST = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
DEADLINE = 20.0  # seconds an answer may take on a busy machine; an attack would make it endless
NOBODY = 65534  # uid
Place = Path | int  # a Unix socket, or a port of this machine


async def connect(place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection."""
    if isinstance(place, int):
        return await asyncio.open_connection("127.0.0.1", place)
    return await asyncio.open_unix_connection(str(place))


async def asked(place: Place, data: bytes, *, half_closed: bool = False) -> bytes:
    """Send bytes and return the whole answer."""
    answer = b""
    async with asyncio.timeout(DEADLINE):
        reader, writer = await connect(place)
        with contextlib.suppress(ConnectionError):  # it may hang up while we still talk
            writer.write(data)
            if half_closed:
                writer.write_eof()
            await writer.drain()
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65536):
                answer += piece
        writer.close()
    return answer


async def status(place: Place, data: bytes) -> int:
    """Send a request and return the status of the answer."""
    return int((await asked(place, data)).split(b" ", 2)[1])


async def patiently(place: Place, data: bytes = REQUEST) -> int:
    """Ask again while the house is full, as the answer says one should."""
    async with asyncio.timeout(DEADLINE):
        said = 503
        while said == 503:
            said = await status(place, data)
    return said


def post(target: str, body: bytes, kind: str = "application/json") -> bytes:
    """Return a request with a body."""
    head = f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
    return f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@contextlib.asynccontextmanager
async def besieged(place: Place, count: int, data: bytes) -> AsyncIterator[None]:
    """Keep so many connections open on which no request ever ends."""
    writers = []
    for _ in range(count):
        _, writer = await connect(place)
        writer.write(data)
        writers.append(writer)
    try:
        yield
    finally:
        for writer in writers:
            writer.close()


@pytest.mark.parametrize("began", [b"", b"GET /v1/status HTTP/1.1\r\nX: "])
async def test_a_siege_of_the_socket_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, began: bytes
) -> None:
    """With 200 clients that never finish a header, an honest one is in before their time is up."""
    monkeypatch.setattr(door, "HESITATION", 0.05)
    monkeypatch.setattr(door, "HEADER_PATIENCE", 10 * DEADLINE)
    async with House(tmp_path / "s").open() as house, besieged(house.path, 200, began):
        assert 200 == await patiently(house.path)


async def test_half_open_scrapes_do_not_stop_prometheus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 200 requests that never end on the TCP port, metrics are served all the same."""
    monkeypatch.setattr(door, "HESITATION", 0.05)
    monkeypatch.setattr(door, "HEADER_PATIENCE", 10 * DEADLINE)
    http = HttpSettings(listen="127.0.0.1:0")
    scrape = REQUEST.replace(b"/v1/status", b"/metrics")
    async with House(tmp_path / "s", http=http).open() as house:
        assert house.port is not None
        async with besieged(house.port, 200, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"):
            assert 200 == await patiently(house.port, scrape)


async def test_who_keeps_a_connection_and_asks_nothing_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that were answered and stay open hold no place that somebody else needs."""
    monkeypatch.setattr(door, "HESITATION", 0.05)
    keep = REQUEST.replace(b"Connection: close\r\n", b"")
    async with (
        House(tmp_path / "s").open() as house,
        besieged(house.path, SOCKET_VISITORS, keep),
    ):
        assert 200 == await patiently(house.path)


@pytest.mark.parametrize("size", [20 * 1024 * 1024, 300 * 1024])
async def test_what_is_too_long_is_refused(tmp_path: Path, size: int) -> None:
    """A line without end and a body that is too large are cut off, and the next one is answered."""
    async with House(tmp_path / "s").open() as house:
        line = await asked(house.path, b"GET /" + b"a" * size)
        body = await asked(house.path, post("/v1/runs?name=a", b"#" * size, "text/yaml"))
        after = await status(house.path, REQUEST)
    assert line == b"" or line.startswith(b"HTTP/1.0 400")  # it need not wait until all is sent
    assert (body[:12], after) == (b"HTTP/1.1 413", 200)


async def test_a_body_that_trickles_has_a_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sends a byte now and then is told that it took too long, however much is left."""
    monkeypatch.setattr(guard, "BODY_PATIENCE", 0.1)
    begun = post("/v1/runs?name=a.yaml", b"x" * 1000, "text/yaml")[:-900]
    async with House(tmp_path / "s").open() as house:
        answer = await asked(house.path, begun)
    assert (b"HTTP/1.1 408", b"send it again at once" in answer) == (answer[:12], True)


async def test_half_a_connection_gets_a_whole_answer(tmp_path: Path) -> None:
    """A client that has said all and closed its side, as nc -N does, is answered or let go."""
    async with House(tmp_path / "s").open() as house:
        answer = await asked(house.path, REQUEST, half_closed=True)
        after = await status(house.path, REQUEST)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 200")
    assert after == 200


DEEP = 100_000  # levels: a recursive reader has long given up


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"nul",
        b'"\xff"',
        b'{"name": "a.yaml", "recipe": NaN}',
        b'{"name": 1, "recipe": "x"}',
        b'{"name": "a.yaml", "recipe": "x", "set": {"a": [1]}}',
        b'{"name": "a\\ud800.yaml", "recipe": "x\\ud800"}',
        b'{"name": "a.yaml", "recipe": ' + b"9" * 10_000 + b"}",
        b"[" * DEEP + b"]" * DEEP,
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    ],
    ids=lambda body: repr(body[:30]),
)
async def test_a_body_that_makes_no_sense_is_the_clients_mistake(
    tmp_path: Path, body: bytes
) -> None:
    """Broken, deep and wrongly typed JSON is answered with a sentence, never with a traceback."""
    async with House(tmp_path / "s").open() as house:
        answer = await asked(house.path, post("/v1/runs", body))
        after = await status(house.path, REQUEST)
    said = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert 400 <= int(answer.split(b" ", 2)[1]) < 500, said
    assert said["error"]["what"]
    assert after == 200


ODD_WORDS = (
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2f",
    "%00",
    "%ff%fe",
    "%ed%a0%80",
    "%0d%0aSet-Cookie:%20a",
    "';DROP%20TABLE%20jobs;--",
    "%25s%25n",
    "a" * 4000,
)


@pytest.mark.parametrize("word", ODD_WORDS, ids=lambda word: word[:20])
async def test_an_id_is_looked_up_and_nothing_else(tmp_path: Path, word: str) -> None:
    """Whatever stands where an id should is not found, in words that cannot break out of a line."""
    async with House(tmp_path / "s").open() as house:
        house.reads.run_rows.append(run())
        house.reads.job_rows += [job(name=f"redis-{i}") for i in range(300)]
        for path in ("runs/{}", "jobs/{}", "jobs/{}/why", "jobs/{}/logs", "runs/{}/report"):
            target = f"/v1/{path.format(word)}"
            answer = await asked(house.path, REQUEST.replace(b"/v1/status", target.encode()))
            assert answer[:12] in (b"HTTP/1.1 404", b"HTTP/1.1 400"), (target, answer[:300])
            assert b"Set-Cookie" not in answer.partition(b"\r\n\r\n")[0]


async def test_a_name_is_a_name_of_a_file(tmp_path: Path) -> None:
    """Whatever path a recipe is sent under, only its last part is used."""
    async with House(tmp_path / "s").open() as house:
        for name in ("..%2f..%2fetc%2fcron.d%2fx.yaml", "%2fx.yaml"):
            assert 201 == await status(house.path, post(f"/v1/runs?name={name}", b"x", "a/b"))
    sent = [wish[1] for wish in house.control.wishes if wish[0] == "submit"]
    assert ["x.yaml", "x.yaml"] == sent


async def test_a_password_on_the_command_line_is_not_noted(tmp_path: Path) -> None:
    """What was set is written down in the log of commands, but for values of secrets."""
    target = "/v1/runs?name=a.yaml&set=repeat%3D3&set=service.environment.A_PASSWORD%3Dhunter2"
    async with House(tmp_path / "s").open() as house:
        await asked(house.path, post(target, b"x", "text/yaml"))
    (line,) = [line for _, line, _ in house.reads.notes]
    assert ("repeat=3" in line, "A_PASSWORD=[redacted]" in line) == (True, True)
    assert "hunter2" not in line


# --- other users: real ones, by a process of another uid ----------------------------------------

AS_OTHER = """
import http.client, json, os, socket, sys
path, method, target, count = sys.argv[1:5]
os.setgroups([]), os.setgid(65534), os.setuid(65534)
kept, said = [], []
for _ in range(int(count)):
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect(path)
    except PermissionError:
        said.append(0)
        continue
    head = f"{method} {target} HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 0\\r\\n\\r\\n"
    link.sendall(head.encode())
    said.append(int(link.recv(65536).split(b" ")[1]))
    kept.append(link)
print(json.dumps(said))
"""


async def as_other(path: Path, method: str, target: str, count: int = 1) -> list[int]:
    """Ask as the user nobody, on connections that stay open; 0: not even connected."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", AS_OTHER, str(path), method, target, str(count)),
        stdout=subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
    found: list[int] = json.loads(out)
    return found


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Return a path for a socket that other users can get to: pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="benchd-open-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "s"


@pytest.mark.real("root")
async def test_the_file_system_keeps_others_out(open_path: Path) -> None:
    """Without the socket's group another user cannot even connect."""
    async with House(open_path).open() as house:
        assert [0] == await as_other(house.path, "GET", "/v1/status")


@pytest.mark.real("root")
@pytest.mark.parametrize(
    ("given", "asking", "acting"),
    [
        ({}, 403, 403),
        ({"readers": frozenset({NOBODY})}, 200, 403),
        ({"operators": frozenset({NOBODY})}, 200, 400),
    ],
)
async def test_others_may_do_what_they_were_given(
    open_path: Path, given: dict[str, frozenset[int]], asking: int, acting: int
) -> None:
    """A user with the socket's group asks, acts or is refused by the uid that the kernel tells."""
    async with House(open_path, access=Access(owner=os.getuid(), **given)).open() as house:
        house.path.chmod(0o666)
        assert [asking] == await as_other(house.path, "GET", "/v1/status")
        assert [acting] == await as_other(house.path, "POST", "/v1/runs")


@pytest.mark.real("root")
async def test_no_other_user_fills_the_house(open_path: Path) -> None:
    """One user gets a few connections, and the owner is answered beside them."""
    access = Access(owner=os.getuid(), readers=frozenset({NOBODY}))
    async with House(open_path, access=access).open() as house:
        house.path.chmod(0o666)
        said = await as_other(house.path, "GET", "/v1/status", USER_VISITORS + 5)
        assert ([200] * USER_VISITORS + [503] * 5, 200) == (said, await status(house.path, REQUEST))
    assert TCP_VISITORS < SOCKET_VISITORS

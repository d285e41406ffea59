"""The link to a login node: commands and connections over one SSH connection."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from benchd.edge.link import Link
from benchd.edge.login import SITE, LinkState, jump
from benchd.edge.shell import ForwardingForbidden, Resting
from benchd.errors import NeedsHuman, Unreachable
from benchd.metrics import Metrics
from benchd.sim import EmbeddedCluster
from support.near import QUICK, known_under, link_to, sample, settings_for, until
from support.near_slurm import Now
from support.wire import Wire

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[EmbeddedCluster]:
    async with EmbeddedCluster(tmp_path / "sim") as running:
        yield running


@pytest_asyncio.fixture
async def link(cluster: EmbeddedCluster) -> AsyncIterator[Link]:
    made = link_to(cluster)
    yield made
    await made.close()


async def test_a_command_answers_with_status_output_and_errors(link: Link) -> None:
    """A command's status, stdout and stderr come back as bytes."""
    done = await link.run("cat; echo no >&2; exit 3", op="x", stdin=b"\x00\xff", timeout=10)
    assert (3, b"\x00\xff", b"no\n") == (done.status, done.stdout, done.stderr)


async def test_large_output_is_cut_at_the_limit_and_the_status_kept(link: Link) -> None:
    """Output beyond the limit is dropped, and the command's own end is still known."""
    done = await link.run("head -c 5000000 /dev/zero; exit 4", op="x", timeout=30, limit=100_000)
    assert (4, 100_000, True) == (done.status, len(done.stdout), done.truncated)


async def test_five_megabytes_come_whole(link: Link) -> None:
    """Five megabytes of bytes that are no text arrive unchanged."""
    done = await link.run("head -c 5000000 /dev/zero | tr '\\0' '\\377'", op="x", timeout=30)
    assert (b"\xff" * 5_000_000, False) == (done.stdout, done.truncated)


@pytest.mark.parametrize("noise", ["", "head -c 20000000 /dev/zero | tee /dev/stderr"])
async def test_banners_of_start_up_files_are_no_output(
    cluster: EmbeddedCluster, link: Link, noise: str
) -> None:
    """What start-up files print before the command is not its output, however much it is."""
    (cluster.home / ".bashrc").write_text(f"{noise}\necho Welcome; echo 0:0; echo Beware >&2\n")
    done = await link.run("echo mine", op="x", timeout=10)
    assert (b"mine\n", b"") == (done.stdout, done.stderr)


async def test_quotes_and_dollars_reach_bash_unchanged(link: Link) -> None:
    """A command is quoted once and interpreted once."""
    done = await link.run("""a='it'"'"'s $HOME'; echo "$a" "\\"q\\"";""", op="x", timeout=10)
    assert b'it\'s $HOME "q"\n' == done.stdout


async def test_a_command_whose_time_is_over_is_stopped_over_there(
    cluster: EmbeddedCluster, link: Link
) -> None:
    """A command that takes too long is ended on the login node, and its outcome is unknown."""
    mark = cluster.dir / "still-running"
    command = f"touch {mark}; trap 'rm {mark}; exit' TERM; while :; do sleep 0.05; done"
    with pytest.raises(Unreachable, match=r"stopped on .* after 0\.5 s") as caught:
        await link.run(command, op="x", timeout=0.5)
    assert caught.value.sent
    await until(lambda: not mark.exists())


async def test_a_cut_in_the_middle_is_an_unknown_outcome_and_the_link_comes_back(
    cluster: EmbeddedCluster,
) -> None:
    """A connection that drops in mid-command is no answer; the next command logs in again."""
    metrics, clock = Metrics(), Now(0.0)
    link = link_to(cluster, metrics=metrics, clock=clock)
    mark = cluster.dir / "started"
    running = asyncio.create_task(link.run(f"touch {mark}; sleep 30", op="x", timeout=60))
    await until(mark.exists)
    cluster.drop_connections()
    with pytest.raises(Unreachable) as caught:
        await running
    await until(lambda: link.state is LinkState.DOWN)
    with pytest.raises(Resting):
        await link.run("true", op="x", timeout=5)
    clock.now += QUICK.ceiling  # more than the pause after one failure
    done = await link.run("echo back", op="x", timeout=10)
    await link.close()
    assert (True, b"back\n", 2) == (caught.value.sent, done.stdout, link.generation)
    assert 2.0 == sample(metrics, "benchd_ssh_logins_total", cluster="alpha", outcome="ok")


async def test_a_frozen_server_is_found_by_keepalive(cluster: EmbeddedCluster) -> None:
    """A server that keeps the connection but says nothing is noticed without a time-out."""
    async with Wire(cluster.port) as wire:
        link = link_to(cluster, port=wire.port, known_hosts=known_under(cluster, wire.port))
        await link.run("true", op="x", timeout=10)
        mark = cluster.dir / "started"
        running = asyncio.create_task(link.run(f"touch {mark}; sleep 9", op="x", timeout=99))
        await until(mark.exists)
        wire.freeze()
        with pytest.raises(Unreachable) as caught:
            async with asyncio.timeout(10):
                await running
        assert caught.value.sent
        await link.close()


async def test_a_wrong_key_pauses_after_one_attempt(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    """A refused key is offered once and then waits for a human, with advice."""
    other = EmbeddedCluster(tmp_path / "other")
    async with other:
        pass  # only to have a key that our login node does not know
    metrics = Metrics()
    link = link_to(cluster, metrics=metrics, identity=str(other.key))
    for _ in range(3):
        with pytest.raises(NeedsHuman, match=r"refuses the key .*authorized_keys.*resume alpha"):
            await link.run("true", op="x", timeout=5)
    assert (LinkState.PAUSED, 1) == (link.state, link.tried)
    assert 1.0 == sample(metrics, "benchd_ssh_logins_total", cluster="alpha", outcome="auth")
    shutil.copy(cluster.key, other.key)
    link.resume()
    assert 0 == (await link.run("true", op="x", timeout=5)).status
    await link.close()


async def test_a_changed_host_key_pauses(cluster: EmbeddedCluster) -> None:
    """A host key that is not the known one is never accepted, and the message says so."""
    link = link_to(cluster)
    await link.run("true", op="x", timeout=10)
    cluster.inject("host-key")
    await until(lambda: link.state is LinkState.DOWN)
    link.resume()
    with pytest.raises(NeedsHuman, match=r"host key of .* has changed.*ssh-keygen -R"):
        await link.run("true", op="x", timeout=5)
    await link.close()


async def test_an_unknown_host_key_says_how_to_know_it(
    cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    """A host that known_hosts does not name gets the very ssh-keyscan command as advice."""
    empty = tmp_path / "known_hosts"
    empty.write_text("")
    link = link_to(cluster, known_hosts=str(empty))
    advice = f"ssh-keyscan -p {cluster.port} 127.0.0.1 >> {empty}"
    with pytest.raises(NeedsHuman, match=advice):
        await link.run("true", op="x", timeout=5)
    assert LinkState.PAUSED == link.state


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        ("no-known-hosts", "does not exist, so no host key can be checked: run `ssh-keyscan -p"),
        ("no-key", "cannot be read"),
        ("open-key", "is open to others: run `chmod 600"),
        ("no-key-at-all", "is no private SSH key"),
    ],
)
async def test_files_that_cannot_be_used_cost_no_login(
    cluster: EmbeddedCluster, tmp_path: Path, breakage: str, message: str
) -> None:
    """A missing, open or damaged file is found before the login node hears of us."""
    key, hosts = tmp_path / "key", tmp_path / "hosts"
    shutil.copy(cluster.key, key)
    shutil.copy(cluster.known_hosts, hosts)
    key.chmod(0o600)
    if breakage == "no-known-hosts":
        hosts.unlink()
    elif breakage == "no-key":
        key.unlink()
    elif breakage == "open-key":
        key.chmod(0o644)
    else:
        key.write_text("not a key\n")
    link = link_to(cluster, identity=str(key), known_hosts=str(hosts))
    with pytest.raises(NeedsHuman, match=message):
        await link.run("true", op="x", timeout=5)
    assert (0, 0) == (link.tried, cluster.logins)


async def test_an_unreachable_node_is_knocked_at_ever_more_rarely(
    cluster: EmbeddedCluster,
) -> None:
    """After each failed login the pause is drawn from twice as long a time, up to five minutes."""
    now = 1000.0
    link = Link(
        "alpha",
        settings_for(cluster, port=1),
        metrics=Metrics(),
        pace=SITE,
        clock=lambda: now,
        jitter=lambda: 1.0,
    )
    waits = []
    for _ in range(11):
        with pytest.raises(Unreachable, match="cannot log in"):
            await link.run("true", op="x", timeout=5)
        with pytest.raises(Resting, match=r"next login to .* in \d+ s") as resting:
            await link.run("true", op="x", timeout=5)
        waits.append(float(str(resting.value).partition(" in ")[2].split()[0]))
        now += waits[-1]
    rare, often = [30.0] * 5, [450.0]  # a floor of 30 s, and six logins in ten minutes at most
    assert [*rare, *often, 64.0, 128.0, 256.0, 300.0, 300.0] == waits


async def test_more_commands_than_sessions_all_get_their_turn(tmp_path: Path) -> None:
    """Sixty commands share three of the server's four sessions, and none is refused."""
    metrics = Metrics()
    async with EmbeddedCluster(tmp_path / "sim", max_sessions=4) as cluster:
        link = link_to(cluster, metrics=metrics, channels=3)
        done = await asyncio.gather(*(link.run(f"echo {i}", op="x", timeout=60) for i in range(60)))
        await link.close()
    assert [f"{i}\n".encode() for i in range(60)] == [d.stdout for d in done]
    assert 0.0 == sample(metrics, "benchd_ssh_channels", cluster="alpha")


async def test_refused_sessions_are_asked_for_again(tmp_path: Path) -> None:
    """A budget above the server's own limit brings every command through, and shrinks to it."""
    metrics = Metrics()
    async with EmbeddedCluster(tmp_path / "sim", max_sessions=2) as cluster:
        link = link_to(cluster, channels=6, metrics=metrics)
        done = await asyncio.gather(
            *(link.run("sleep 0.1; echo y", op="poll", timeout=60) for _ in range(12))
        )
        report = link.report()
        await link.close()
    assert [b"y\n"] * 12 == [d.stdout for d in done]
    assert (2, 2.0) == (
        report.channel_limit,
        sample(metrics, "benchd_ssh_channel_limit", cluster="alpha"),
    )


async def test_a_forwarded_connection_is_no_session(tmp_path: Path) -> None:
    """Connections to compute nodes take no place from commands."""
    async with EmbeddedCluster(tmp_path / "sim") as cluster:
        link = link_to(cluster, channels=1)
        server = await asyncio.start_server(_silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        open_ones = [await link.connect("127.0.0.1", port, 5) for _ in range(4)]
        done = await link.run("echo y", op="x", timeout=10)
        assert (b"y\n", 0) == (done.stdout, link.report().channels)
        for _, writer in open_ones:
            writer.close()
        server.close()
        await link.close()


async def test_the_next_address_is_tried_after_a_failure(
    cluster: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name for two nodes, one of which hangs up: the second login goes to the other one."""
    knocks: list[str] = []

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        knocks.append("127.0.0.2")
        writer.transport.abort()

    bad = await asyncio.start_server(hang_up, "127.0.0.2", cluster.port)
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, cluster.port))
        for address in ("127.0.0.2", "127.0.0.1")
    ]

    async def resolve(host: str, port: int, **_: object) -> list[object]:
        assert ("login.test", cluster.port) == (host, port)
        return list(found)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    clock = Now(0.0)
    known = known_under(cluster, cluster.port, "login.test")
    link = link_to(cluster, host="login.test", known_hosts=known, clock=clock)
    with pytest.raises(Unreachable, match="cannot log in"):
        await link.run("true", op="x", timeout=5)
    clock.now += QUICK.ceiling
    assert 0 == (await link.run("true", op="x", timeout=5)).status
    await link.close()
    bad.close()
    assert (["127.0.0.2"], 1) == (knocks, cluster.logins)


async def test_an_address_that_refuses_connections_costs_no_login(
    cluster: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the addresses of a name, the first that accepts a connection is logged in to."""
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, cluster.port))
        for address in ("127.0.0.3", "127.0.0.1")
    ]

    async def resolve(*_: object, **__: object) -> list[object]:
        return list(found)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    known = known_under(cluster, cluster.port, "login.test")
    link = link_to(cluster, host="login.test", known_hosts=known)
    assert 0 == (await link.run("true", op="x", timeout=5)).status
    assert 1 == link.tried
    await link.close()


async def test_closing_gives_up_a_login_that_hangs(cluster: EmbeddedCluster) -> None:
    """A login node that accepts and says nothing does not hold the end up."""
    async with Wire(cluster.port) as wire:
        wire.freeze()
        link = link_to(cluster, port=wire.port, known_hosts=known_under(cluster, wire.port))
        running = asyncio.create_task(link.run("true", op="x", timeout=5))
        await until(lambda: link.state is LinkState.CONNECTING)
        await link.close()
        with pytest.raises(Unreachable):
            await running
        assert LinkState.DOWN is link.state


async def test_connect_reaches_a_port_through_the_login_node(
    cluster: EmbeddedCluster, link: Link
) -> None:
    """A connection goes through the login node, and a refusal by the target is told apart."""
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await link.connect("127.0.0.1", port, 5)
    writer.write(b"hello\n")
    said = await reader.readline()
    writer.close()
    server.close()
    with pytest.raises(ConnectionRefusedError):
        await link.connect("127.0.0.1", 1, 5)
    assert b"hello\n" == said


async def test_forbidden_forwarding_has_a_name_of_its_own(
    cluster: EmbeddedCluster, link: Link
) -> None:
    """A login node that forwards nothing is not mistaken for a target that refuses."""
    cluster.inject("no-forwarding")
    with pytest.raises(ForwardingForbidden):
        await link.connect("127.0.0.1", 1, 5)


async def test_a_cut_during_a_connection_is_our_trouble(
    cluster: EmbeddedCluster, link: Link
) -> None:
    """When the link breaks, the reader of a forwarded connection says so instead of ending."""
    server = await asyncio.start_server(_silent, "127.0.0.1", 0)
    reader, _ = await link.connect("127.0.0.1", server.sockets[0].getsockname()[1], 5)
    reading = asyncio.create_task(reader.read(10))
    await asyncio.sleep(0)
    cluster.drop_connections()
    with pytest.raises(Unreachable):
        await reading
    server.close()


async def test_closing_leaves_no_task(cluster: EmbeddedCluster) -> None:
    """After closing nothing of the link runs on, and further commands are refused."""
    before = asyncio.all_tasks()
    link = link_to(cluster)
    await link.run("true", op="x", timeout=10)
    await link.close()
    with pytest.raises(Unreachable) as caught:
        await link.run("true", op="x", timeout=10)
    ours = [t for t in asyncio.all_tasks() - before if "SSHClient" in repr(t)]
    assert (False, []) == (caught.value.sent, ours)


async def test_a_command_given_up_by_its_caller_frees_its_session(
    cluster: EmbeddedCluster,
) -> None:
    """Cancelling callers leaves the channel budget whole."""
    link = link_to(cluster, channels=2)
    await link.run("true", op="x", timeout=5)
    marks = [cluster.dir / f"started-{n}" for n in range(2)]
    tasks = [
        asyncio.create_task(link.run(f"touch {mark}; sleep 3", op="x", timeout=3)) for mark in marks
    ]
    await until(lambda: all(mark.exists() for mark in marks))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    done = await link.run("echo free", op="x", timeout=5)
    await link.close()
    assert b"free\n" == done.stdout


async def test_a_jump_host_is_gone_through(cluster: EmbeddedCluster) -> None:
    """With proxy_jump the login node is reached through another one, with the same key."""
    here = f"{cluster.user}@{cluster.host}:{cluster.port}"
    link = link_to(cluster, proxy_jump=here)
    done = await link.run("echo far", op="x", timeout=10)
    await link.close()
    assert (b"far\n", 2) == (done.stdout, cluster.logins)


async def test_a_jump_host_is_left_when_the_node_behind_it_refuses(
    cluster: EmbeddedCluster,
) -> None:
    """No connection to the jump host stays behind a login that failed."""
    before = cluster.logins
    link = link_to(cluster, proxy_jump=f"{cluster.user}@{cluster.host}:{cluster.port}", port=1)
    with pytest.raises(Unreachable):
        await link.run("true", op="x", timeout=5)
    await until(lambda: not cluster._login.connections)
    assert 1 == cluster.logins - before
    await link.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gate", (None, "gate", 22)),
        ("me@gate", ("me", "gate", 22)),
        ("me@gate7:2222", ("me", "gate7", 2222)),
        ("gate7", (None, "gate7", 22)),
        ("[fe80::1]:2222", (None, "fe80::1", 2222)),
        ("[fe80::1]", (None, "fe80::1", 22)),
    ],
)
async def test_a_jump_host_is_read_as_ssh_reads_it(
    text: str, expected: tuple[str | None, str, int]
) -> None:
    """User and port are optional, and IPv6 addresses stand in brackets."""
    assert expected == jump(text)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()

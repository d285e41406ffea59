"""The login node: a real SSH server in front of the model."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import cast

import asyncssh
from asyncssh.channel import SSHChannel

from benchd.sim.agent import Agent
from benchd.sim.desk import LOGIN
from benchd.sim.faults import Faults
from benchd.sim.login import Session

MAX_SESSIONS = 10  # sshd's default
FAREWELL = 5.0  # seconds for the sessions to notice that their processes were killed


class LoginNode:
    """Who may log in, what they may open, and the connections that are open."""

    def __init__(
        self,
        *,
        user: str,
        client_key: asyncssh.SSHKey,
        home: Path,
        environment: Mapping[str, str],
        agent: Agent,
        faults: Faults,
        max_sessions: int = MAX_SESSIONS,
    ) -> None:
        self.user = user
        self.home = home
        self.faults = faults
        self.max_sessions = max_sessions
        self.client_key = client_key
        self.connections: dict[int, asyncssh.SSHServerConnection] = {}
        self.logins = 0
        self.local_names = {"localhost", "127.0.0.1", "::1", socket.gethostname(), socket.getfqdn()}
        self._environment = environment
        self._agent = agent
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, port: int, host_key: asyncssh.SSHKey) -> int:
        """Listen on loopback; return the port."""
        self._acceptor = await asyncssh.listen(
            "127.0.0.1",
            port,
            server_factory=lambda: Door(self),
            server_host_keys=[host_key],
            encoding=None,
            line_editor=False,
            allow_pty=False,
            agent_forwarding=False,
            reuse_address=True,
        )
        return self._acceptor.get_port()

    def show_host_key(self, host_key: asyncssh.SSHKey) -> None:
        """Show another host key to who connects from now on."""
        if self._acceptor is not None:
            self._acceptor.update(server_host_keys=[host_key])

    async def stop_listening(self) -> None:
        """Accept no more connections and cut those that are open."""
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.wait_closed()
        self.drop_all()

    async def close(self) -> None:
        """Wait for the sessions; their processes have to be dead already."""
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=FAREWELL)
            for task in left:
                task.cancel()

    def drop(self, number: int) -> None:
        """Cut one connection, as if its wire broke."""
        connection = self.connections.get(number)
        if connection is not None:
            connection.abort()

    def drop_all(self) -> None:
        """Cut every connection."""
        for connection in list(self.connections.values()):
            connection.abort()

    def start(self, process: asyncssh.SSHServerProcess[bytes], number: int) -> None:
        """Start a session's command in a task that does not end with the connection."""
        host, port = process.get_extra_info("peername")[:2]
        client = f"{host} {port}"
        here = process.get_extra_info("sockname")
        environment = {
            **self._environment,
            "SSH_CLIENT": f"{client} {here[1]}",
            "SSH_CONNECTION": f"{client} {here[0]} {here[1]}",
            LOGIN: str(number),
        }
        session = Session(process, environment=environment, home=self.home, agent=self._agent)
        task = asyncio.create_task(session.run(), name=f"sim-session-{number}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def may_forward(self, host: str) -> bool:
        """Whether direct-tcpip may go there: this machine only."""
        if self.faults.is_on("no-forwarding"):
            return False
        return host in self.local_names or _is_own_address(host)


def _is_own_address(host: str) -> bool:
    """Whether this is a numeric address of this machine: only those can be bound."""
    if not re.fullmatch(r"[0-9.]+", host):
        return False
    with socket.socket() as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


class Door(asyncssh.SSHServer):
    """One connection."""

    def __init__(self, node: LoginNode) -> None:
        self._node = node
        self._connection: asyncssh.SSHServerConnection | None = None
        self._number = 0
        self._sessions = 0

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Remember the connection, so that it can be cut."""
        self._node.logins += 1
        self._connection, self._number = conn, self._node.logins
        self._node.connections[self._number] = conn

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        del exc
        self._node.connections.pop(self._number, None)

    def begin_auth(self, username: str) -> bool:
        """Everybody has to show a key."""
        del username
        return True

    def public_key_auth_supported(self) -> bool:
        """Keys are the only way in."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Let in the one user with the one key, unless it was revoked."""
        return (
            username == self._node.user
            and key.public_data == self._node.client_key.public_data
            and not self._node.faults.is_on("auth")
        )

    def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
        """Open a session, or refuse it in sshd's words when there are too many."""
        if self._sessions >= self._node.max_sessions:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "open failed")
        self._sessions += 1
        return _Channel(
            lambda process: self._node.start(process, self._number), self._home, self._released
        )

    def _home(self, channel: SSHChannel[bytes]) -> asyncssh.SFTPServer:
        return _HomeSFTP(channel, self._node.home)

    def _released(self) -> None:
        self._sessions -= 1

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> Coroutine[None, None, asyncssh.SSHTCPSession[bytes]]:
        """Forward to this machine only; refuse in sshd's words."""
        del orig_host, orig_port
        if not self._node.may_forward(dest_host) or self._connection is None:
            prohibited = asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED
            raise asyncssh.ChannelOpenError(prohibited, "open failed")
        return _forward(self._connection, dest_host, dest_port)


async def _forward(
    connection: asyncssh.SSHServerConnection, host: str, port: int
) -> asyncssh.SSHTCPSession[bytes]:
    try:
        forwarder = await connection.forward_connection(host, port)
    except asyncssh.ChannelOpenError as refused:
        number = re.search(r"Errno (\d+)", refused.reason)
        text = os.strerror(int(number[1])) if number else refused.reason
        raise asyncssh.ChannelOpenError(refused.code, text) from None
    return forwarder  # type: ignore[return-value] # asyncssh itself uses its forwarder as a session


class _Channel(asyncssh.SSHServerProcess[bytes]):
    """A session channel that says when it is free again."""

    def __init__(
        self,
        run: Callable[[asyncssh.SSHServerProcess[bytes]], None],
        sftp: Callable[[SSHChannel[bytes]], asyncssh.SFTPServer],
        released: Callable[[], None],
    ) -> None:
        super().__init__(run, sftp, 3, allow_scp=True)  # 3: the SFTP version OpenSSH speaks
        self._release = released

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the slot."""
        super().connection_lost(exc)
        self._release()


class _HomeSFTP(asyncssh.SFTPServer):
    """SFTP whose relative paths start at the user's home."""

    def __init__(self, channel: SSHChannel[bytes], home: Path) -> None:
        super().__init__(cast("asyncssh.SSHServerChannel[bytes]", channel))
        self._home = os.fsencode(home)

    def map_path(self, path: bytes) -> bytes:
        """Return the path on this machine."""
        return os.path.join(self._home, path)  # noqa: PTH118 - bytes, which Path does not take

"""What must be in order on this machine before a login node hears of us, and how to mend it.

A wrong key or an unknown host key tried again and again gets an account blocked; so each of these
is one message with the very command to run, and then the cluster waits for a human.
"""

from __future__ import annotations

import getpass
import os
import stat
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from benchd.config import ClusterSettings, SSHSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How hard a login node may be pressed. Times are in seconds."""

    floor: float = 30.0  # between two logins; sites ban faster knockers
    first: float = 1.0  # the longest pause after one failure; it doubles with each
    ceiling: float = 300.0  # the longest pause after many
    per_ten_minutes: int = 6  # logins; sites count failures over minutes
    per_day: int = 60  # logins; and over days
    keepalive: float = 15.0  # a frozen node is found after keepalive * keepalive_count
    keepalive_count: int = 3
    connect_timeout: float = 10.0
    login_timeout: float = 20.0


SITE = Pace()
# A test installation of one's own, on the same machine: nobody is disturbed.
TESTBED = Pace(
    floor=0.5,
    ceiling=2.0,
    per_ten_minutes=1_000,
    per_day=10_000,
    keepalive=1.0,
    connect_timeout=5.0,
    login_timeout=10.0,
)


def pace_of(settings: ClusterSettings) -> Pace:
    """Return how hard a cluster's login node may be pressed."""
    if settings.testbed:
        return TESTBED
    budget = settings.budget
    return replace(
        SITE, per_ten_minutes=budget.logins_per_10_minutes, per_day=budget.logins_per_day
    )


class LinkState(StrEnum):
    """What a link is doing."""

    DOWN = "down"
    CONNECTING = "connecting"
    UP = "up"
    PAUSED = "paused"  # until a human resumes it


class Unusable(Exception):
    """A file that logging in needs is not usable; the message says which, and what to do."""


def path(text: str) -> str:
    """Return a path of the configuration with ``~`` and variables replaced."""
    return str(Path(os.path.expandvars(text)).expanduser())


def identity(settings: SSHSettings) -> str:
    """Return the path of the one key that is offered."""
    return path(settings.identity or "~/.ssh/id_ed25519")


def known_hosts(settings: SSHSettings) -> str:
    """Return the path of the host keys that are believed."""
    return path(settings.known_hosts or "~/.ssh/known_hosts")


def user(settings: SSHSettings) -> str:
    """Return the name to log in with."""
    return settings.user or getpass.getuser()


def options(settings: SSHSettings, pace: Pace) -> dict[str, object]:
    """Return how asyncssh shall log in: one key, no agent, and no configuration unless asked."""
    chosen: dict[str, object] = {
        "config": [path(settings.config)] if settings.config else None,
        "agent_path": None,
        "connect_timeout": pace.connect_timeout,
        "login_timeout": pace.login_timeout,
        "keepalive_interval": pace.keepalive,
        "keepalive_count_max": pace.keepalive_count,
    }
    # What a configuration file was asked for, it may say.
    if settings.identity or not settings.config:
        chosen["client_keys"] = [identity(settings)]
    if settings.known_hosts or not settings.config:
        chosen["known_hosts"] = known_hosts(settings)
    if settings.user or not settings.config:
        chosen["username"] = user(settings)
    return chosen


def jump(text: str) -> tuple[str | None, str, int]:
    """Split ``[user@]host[:port]``; an IPv6 address stands in brackets."""
    name, _, address = text.rpartition("@")
    host, _, port = address.rpartition(":") if address[-1:].isdigit() else (address, "", "")
    if not host or host.startswith("[") != host.endswith("]"):
        host, port = address, ""
    return name or None, host.strip("[]"), int(port) if port.isdigit() else 22


def names_key(settings: SSHSettings) -> bool:
    """Tell whether the key is ours to choose; else an SSH configuration file chooses it."""
    return bool(settings.identity or not settings.config)


def check_files(settings: SSHSettings) -> None:
    """Raise ``Unusable`` for a key or known_hosts file that cannot be used."""
    key, hosts = Path(identity(settings)), Path(known_hosts(settings))
    if names_key(settings):
        try:
            mode = key.stat().st_mode
            data = key.read_bytes()
        except OSError as error:
            raise Unusable(
                f"the SSH key {key} cannot be read ({error.strerror}): set ssh.identity to a key "
                "this daemon may read, or make one with `ssh-keygen -t ed25519`"
            ) from error
        if data.lstrip().startswith(_PUBLIC):
            beside = key.with_suffix("") if key.suffix == ".pub" else "the file of the pair"
            raise Unusable(
                f"{key} is the public key; give the private one beside it: set ssh.identity to "
                f"{beside}"
            )
        if is_open(key, mode):
            raise Unusable(f"the SSH key {key} is open to others: run `chmod 600 {key}`")
    if (settings.known_hosts or not settings.config) and not hosts.is_file():
        raise Unusable(f"{hosts} does not exist, so no host key can be checked: {scan(settings)}")


def is_open(file: Path, mode: int) -> bool:
    """Tell whether others may read a secret file.

    What systemd's LoadCredential hands over may be readable for a group, which is our own.
    """
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    handed = bool(given) and file.absolute().is_relative_to(Path(str(given)).absolute())
    return bool(stat.S_IMODE(mode) & (0o007 if handed else 0o077))


# How files of public keys begin: what sshd has in authorized_keys, and the forms for exchange.
_PUBLIC = (
    *(b"ssh-", b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-"),
    *(b"---- BEGIN SSH2 PUBLIC", b"-----BEGIN PUBLIC", b"-----BEGIN RSA PUBLIC"),
)


def scan(settings: SSHSettings) -> str:
    """Return the advice that makes a host key known."""
    return (
        f"run `ssh-keyscan -p {settings.port} {settings.host} >> {known_hosts(settings)}` and "
        "compare the key with the one your site publishes"
    )


def denied(settings: SSHSettings) -> str:
    """Return what to do after the login node refused the key."""
    return (
        f"{settings.host}:{settings.port} refuses the key {identity(settings)} for user "
        f"{user(settings)}: put {identity(settings)}.pub into ~/.ssh/authorized_keys there, or "
        "set ssh.user and ssh.identity to a pair it accepts"
    )


def distrusted(settings: SSHSettings, *, known: bool) -> str:
    """Return what to do about a host key that is not known, or not the known one."""
    where, file = f"{settings.host}:{settings.port}", known_hosts(settings)
    if not known:
        return f"the host key of {where} is not in {file}: {scan(settings)}"
    name = settings.host if settings.port == 22 else f"[{settings.host}]:{settings.port}"
    return (
        f"the host key of {where} has changed: it is not the one in {file}. Somebody may stand in "
        f"between; ask your site. Only if they changed it, run `ssh-keygen -R '{name}' -f {file}`, "
        f"then {scan(settings)}"
    )

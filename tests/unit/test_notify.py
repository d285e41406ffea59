"""Talking to systemd over a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchd.edge import notify


@pytest.fixture(params=["path", "abstract"])
def systemd(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    address = str(tmp_path / "notify")
    if request.param == "abstract":
        address = f"@benchd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address.replace("@", "\0", 1) if request.param == "abstract" else address)
        listener.settimeout(10.0)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield listener


def test_each_message_arrives(systemd: socket.socket) -> None:
    """Ready, status, watchdog and stopping are what systemd expects, on both kinds of address."""
    sent = [notify.ready(), notify.status("2 jobs"), notify.watchdog(), notify.stopping()]
    got = [systemd.recv(1000) for _ in sent]

    assert sent == [True] * 4
    assert got == [b"READY=1", b"STATUS=2 jobs", b"WATCHDOG=1", b"STOPPING=1"]


def test_a_status_stays_one_field(systemd: socket.socket) -> None:
    """A line break in a status cannot smuggle in another message."""
    notify.status("all well\nMAINPID=1\n")

    assert systemd.recv(1000) == b"STATUS=all well MAINPID=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all"])
def test_without_systemd_nothing_happens(address: str) -> None:
    """No socket, or one that nobody listens to, is no error."""
    assert notify.send("READY=1", {"NOTIFY_SOCKET": address}) is False


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),  # meant for another process
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_three_times_as_often_as_it_bites(
    environ: dict[str, str], seconds: float | None
) -> None:
    """The interval is a third of what systemd allows, and only for the process it watches."""
    assert notify.watchdog_interval(environ) == seconds

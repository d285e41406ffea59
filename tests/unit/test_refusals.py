"""What the words of a login node mean that opened no connection."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from benchd.edge.refusals import of_channel, of_error
from benchd.edge.shell import ForwardingForbidden
from benchd.errors import Unreachable


@pytest.mark.parametrize(
    ("code", "reason", "meaning"),
    [
        (2, "Connection refused", ConnectionRefusedError),
        (2, "Multiple exceptions: [Errno 111] Connect call refused", ConnectionRefusedError),
        (2, "Connection timed out", TimeoutError),
        (2, "Name or service not known", Unreachable),
        (2, "Temporary failure in name resolution", Unreachable),
        (2, "Too many open files", Unreachable),
        (2, "No route to host", Unreachable),
        (2, "", Unreachable),
        (1, "open failed", ForwardingForbidden),
        (3, "unknown channel type", ForwardingForbidden),
        (4, "Connection refused", Unreachable),
        (99, "refused", Unreachable),
    ],
)
def test_only_the_targets_own_no_is_a_refusal(
    code: int, reason: str, meaning: type[Exception]
) -> None:
    """Each answer of a login node is the target's no, its silence, a prohibition, or trouble."""
    assert meaning is type(of_channel("alpha: login:22", "n1:7000", code, reason))


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), ConnectionRefusedError),
        (TimeoutError(errno.ETIMEDOUT, "x"), TimeoutError),
        (OSError(errno.EHOSTUNREACH, "x"), Unreachable),
        (OSError(errno.EMFILE, "x"), Unreachable),
        (OSError("Multiple exceptions"), Unreachable),
        (socket.gaierror(socket.EAI_AGAIN, "no name server"), Unreachable),
    ],
)
def test_this_hosts_own_errors_are_told_apart_likewise(
    error: OSError, meaning: type[Exception]
) -> None:
    """On the login node itself the error number says what happened."""
    assert meaning is type(of_error("here", "n1:7000", error))


def test_a_message_names_both_ends_and_the_reason() -> None:
    """Who reads it knows which connection was meant, and why it was not opened."""
    said = of_channel("alpha: login:22", "n1:7000", 4, "fork\x1b[31m")
    assert (
        "alpha: login:22 opens no connection to n1:7000: it is short of resources: fork [31m"
        == (str(said))
    )
    why = os.strerror(errno.EMFILE)
    assert str(of_error("here", "n1:7000", OSError(errno.EMFILE, ""))).endswith(why)

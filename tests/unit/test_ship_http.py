"""The client's side of HTTP/1.1: the same answer, however the bytes arrive."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.ship.load.http1 import BadFrame, Response
from benchd.ship.load.target import Usage, parse

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4\r\nabcd\r\n1;x=y\r\ne\r\n0\r\nTrailer: t\r\n\r\n"
)
COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + CHUNKED


@given(
    answer=st.sampled_from([CHUNKED, COUNTED, INTERIM]),
    cuts=st.lists(st.integers(min_value=0, max_value=150), max_size=20),
)
def test_cuts_do_not_matter(answer: bytes, cuts: list[int]) -> None:
    """Wherever segments end, the body, its end and the fate of the connection are the same."""
    places = sorted({0, *(cut for cut in cuts if cut < len(answer)), len(answer)})
    response = Response()
    body = b""
    for start, end in itertools.pairwise(places):
        assert not response.complete
        body += b"".join(response.feed(answer[start:end]))
    assert (response.complete, response.keep_alive, response.status) == (True, True, 200)
    assert body == b"abcde"


@pytest.mark.parametrize(
    "answer",
    [
        b"+PONG\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 ok\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x" * 300_000,
        b"SSH-2.0-OpenSSH_9.2",
    ],
)
def test_bad_frames(answer: bytes) -> None:
    """What is not HTTP is said to be so, and never waited for."""
    with pytest.raises(BadFrame):
        Response().feed(answer)


@pytest.mark.parametrize("answer", [CHUNKED, COUNTED])
def test_nothing_follows_what_nobody_asked_for(answer: bytes) -> None:
    """Behind more than one answer the connection is left: the next would be taken for another."""
    response = Response()
    assert b"".join(response.feed(answer + answer)) == b"abcde"
    assert (response.complete, response.keep_alive) == (True, False)


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
    ],
)
def test_keep_alive(head: bytes, keep_alive: bool) -> None:
    """Whether a connection can be used again follows from version and header."""
    response = Response()
    response.feed(head)
    assert (response.complete, response.keep_alive) == (True, keep_alive)


def test_body_until_close() -> None:
    """Without a length the body goes on until the connection is closed."""
    response = Response()
    assert response.feed(b"HTTP/1.1 200 OK\r\n\r\nabc") == [b"abc"]
    assert (response.complete, response.until_close, response.keep_alive) == (False, True, False)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://n1:8000", "http://n1:8000"),
        ("http://n1", "http://n1:80"),
        ("https://n1/x/", "https://n1:443/x"),
        ("http://n1:8000/v1/", "http://n1:8000"),
        ("http://[fd00::1]:80/v1", "http://[fd00::1]:80"),
    ],
)
def test_targets(url: str, expected: str) -> None:
    """A URL is taken as people paste it, with the path of an OpenAI client's base URL."""
    assert parse(url).url == expected


@pytest.mark.parametrize(
    "url",
    ["", "n1", "n1:80", "ftp://n1", "http://", "http://n1:x", "http://u:p@n1", "http://n1/?a"],
)
def test_bad_targets(url: str) -> None:
    """What cannot be a service is refused."""
    with pytest.raises(Usage):
        parse(url)

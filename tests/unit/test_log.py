"""What a log line looks like, and what never gets into one."""

from __future__ import annotations

import io
import json
import logging
import re
from typing import Any

import pytest
import structlog

from benchd import log as logging_setup
from benchd.secrecy import REDACTED

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # what the renderer itself puts around words


def _line(event: str, **values: Any) -> dict[str, Any]:
    stream = io.StringIO()
    logging_setup.configure(stream=stream)
    structlog.get_logger().info(event, **values)
    (line,) = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_elsewhere_than_on_a_terminal_a_line_is_json() -> None:
    """Event, level, time in UTC and the given values make one JSON object on one line."""
    line = _line("job.running", job="t-1", nodes=2, ports=(1, 2))

    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "job.running",
        "level": "info",
        "job": "t-1",
        "nodes": 2,
        "ports": [1, 2],
    }


def test_on_a_terminal_a_line_is_readable() -> None:
    """Pretty lines carry event and values as words."""
    stream = io.StringIO()
    logging_setup.configure(stream=stream, pretty=True)
    structlog.get_logger().info("job.running", job="t-1")

    assert "job.running" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_below_the_level_nothing_is_said() -> None:
    """The level is an argument, and quieter events are dropped."""
    stream = io.StringIO()
    logging_setup.configure("warning", stream=stream)
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")

    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


@pytest.mark.parametrize("pretty", [True, False])
@pytest.mark.parametrize("bad", ["\x1b[2J", "\x9b", "\x07", "\r", "\n", "\u202e", "\udcff", "\x00"])
def test_no_control_character_reaches_the_terminal(bad: str, pretty: bool) -> None:
    """Control characters in names, values, lists and mappings are spelled out."""
    stream = io.StringIO()
    logging_setup.configure(stream=stream, pretty=pretty)
    logger = structlog.get_logger()
    logger.info("plain")
    plain = stream.getvalue()
    values: dict[str, Any] = {
        f"k{bad}": "x",
        "a": bad,
        "b": [bad],
        "c": {bad: bad},
        "d": Exception(bad),
    }
    event = f"event{bad}"
    logger.info(event, **values)

    text = _COLOUR.sub("", stream.getvalue()[len(plain) :])
    assert text.endswith("\n")
    assert bad not in text[:-1]
    assert bad.encode("unicode_escape", "surrogatepass").decode() in text.replace("\\\\", "\\")


def test_a_traceback_keeps_its_lines() -> None:
    """An exception is rendered with its lines, its text without control characters."""
    stream = io.StringIO()
    logging_setup.configure(stream=stream)
    try:
        raise ValueError("\x1b[31mred")
    except ValueError:
        structlog.get_logger().exception("it.broke")

    exception = json.loads(stream.getvalue())["exception"]
    assert exception.startswith("Traceback (most recent call last):\n")
    assert exception.endswith("ValueError: \\x1b[31mred")


@pytest.mark.parametrize(
    "name",
    ["password", "MYSQL_ROOT_PASSWORD", "api_key", "secrets", "HF_TOKEN", "Authorization",
     "token_file_content", "private_key", "passphrase"],
)  # fmt: skip
def test_secrets_are_hidden_by_their_name(name: str) -> None:
    """A value under such a name is hidden, at the top, in a mapping, and inside a text."""
    line = _line(
        "x",
        **{name: "canary"},
        inner=[{name: "canary"}],
        text=f"export {name}='canary' --{name}: canary",
    )

    assert "canary" not in json.dumps(line)
    assert line[name] == REDACTED
    assert line["inner"] == [{name: REDACTED}]


def test_secrets_in_headers_and_urls_are_hidden() -> None:
    """A bearer token and the password of a URL are hidden, what is around them stays."""
    line = _line("x", a="Authorization: Bearer canary", b="redis://me:canary@host:6379/0")

    assert line["a"] == f"Authorization: {REDACTED}"
    assert line["b"] == f"redis://me:{REDACTED}@host:6379/0"


def test_what_is_no_secret_stays() -> None:
    """Job tokens, counts of tokens and the path of a token file are what logs are for."""
    values = {"token": "a-b-c", "output_tokens": 5, "token_file": "/etc/t", "url": "http://h:1/x@y"}

    line = _line("x", **values)

    assert {key: line[key] for key in values} == values


def test_libraries_speak_only_in_warnings() -> None:
    """Records of the standard library's loggers come in the same form, from WARNING upwards."""
    stream = io.StringIO()
    logging_setup.configure("debug", stream=stream)
    logging.getLogger("asyncssh").info("connected")
    logging.getLogger("asyncssh.connection").warning("odd %s", "\x1b[2Jpassword=canary")

    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert line.pop("timestamp")
    assert line == {
        "event": f"odd \\x1b[2Jpassword={REDACTED}",
        "level": "warning",
        "logger": "asyncssh.connection",
    }


@pytest.mark.parametrize("turn", [1, 2])
def test_a_test_finds_logging_as_if_it_were_the_first(turn: int) -> None:
    """What one test sets up a later one does not meet: not its streams and not its levels."""
    streams = [getattr(handler, "stream", None) for handler in logging.root.handlers]
    closed = [stream for stream in streams if stream is not None and stream.closed]
    found = structlog.is_configured(), closed, logging.getLogger("asyncssh").level
    stream = io.StringIO()
    logging_setup.configure(stream=stream)
    stream.close()

    assert (False, [], logging.NOTSET) == found, f"turn {turn}"

"""Logging: events with key-values, readable on a terminal, one JSON object per line elsewhere.

What is logged was partly written by others (recipes, login nodes), so no control character gets
through to a terminal, and no value under a name that says it is a secret.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from benchd.secrecy import REDACTED, is_secret, without_secrets

LEVELS = ("debug", "info", "warning", "error")
# Libraries that log through the standard library; only what they warn of is of interest.
_LIBRARIES = ("asyncio", "asyncssh", "aiohttp", "aiosqlite")

# C0 and C1 controls, zero-width and bidirectional controls, lone surrogates.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_CONTROL_IN_LINES = re.compile(_CONTROL.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))


def printable(text: str) -> str:
    """Return the text with control characters spelled out, so that it stays on its line."""
    return _CONTROL.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide values under names such as ``password``, at any depth and inside of texts."""
    return {key: _redacted(key, value) for key, value in event.items()}


def _redacted(key: object, value: object) -> object:
    if isinstance(key, str) and value is not None and is_secret(key):
        return REDACTED
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {k: _redacted(k, v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(None, item) for item in value]
    return value


def clean(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Spell out control characters in every name and value; a traceback keeps its lines."""
    return {
        printable(str(key)): _CONTROL_IN_LINES.sub(_spelled, value)
        if key == "exception" and isinstance(value, str)
        else _cleaned(value)
        for key, value in event.items()
    }


def _cleaned(value: object) -> object:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {printable(str(k)): _cleaned(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_cleaned(item) for item in value]
    return printable(value if isinstance(value, str) else str(value))


def configure(
    level: str = "info", *, stream: TextIO | None = None, pretty: bool | None = None
) -> None:
    """Set logging up for this process: to stderr unless told otherwise, pretty on a terminal."""
    output = sys.stderr if stream is None else stream
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last: list[Processor] = [
        redact,
        clean,
        _renderer(output.isatty() if pretty is None else pretty),
    ]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=False,  # a module's logger follows a later set-up
    )
    _route_libraries(shared, last, output)


def _renderer(pretty: bool) -> Processor:
    if not pretty:
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    return structlog.dev.ConsoleRenderer(
        colors=True, exception_formatter=structlog.dev.plain_traceback
    )


def _route_libraries(shared: list[Processor], last: list[Processor], output: TextIO) -> None:
    handler = logging.StreamHandler(output)
    name: Processor = _library_name
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for library in _LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)


def _library_name(_logger: Any, _method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event["logger"] = record.name
    return event

"""Text with ``{places}`` in it, as kinds from files have it: known when written, or on the node.

``{maxmemory}`` is a parameter of the kind, known when the script is written; ``{port}`` is known
only to the job, and becomes shell. A brace is written twice to mean itself.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping

from benchd.core.payload import Sh
from benchd.fields import Scalar

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_PORT = re.compile(r"port_(\d{1,2})")

# What only the job knows -> the variable of the batch script that says it.
_SERVICE = {
    "port": "BENCHD_PORT",
    "host": "BENCHD_HOST",
    "address": "BENCHD_HOST_IP",
    "bind": "BENCHD_BIND",
    "data": "BENCHD_DATA",
    "job": "JOB",
}
_CLIENT = {
    "target_host": "BENCHD_TARGET_HOST",
    "target_port": "BENCHD_TARGET_PORT",
    "target_url": "BENCHD_TARGET_URL",
    "target_urls": "BENCHD_TARGET_URLS",
    "targets": "BENCHD_TARGETS",
    "result": "BENCHD_RESULT_DIR",
    "job": "JOB",
}


def variable(place: str, *, client: bool) -> str | None:
    """Return the variable of the batch script that a place stands for, None if there is none."""
    if not client and (match := _PORT.fullmatch(place)):
        return f"BENCHD_PORT_{int(match[1])}"
    return (_CLIENT if client else _SERVICE).get(place)


def known(*, client: bool) -> list[str]:
    """Return the places that are not parameters, for messages."""
    return [*(_CLIENT if client else _SERVICE), *(() if client else ("port_1",))]


def places(text: str) -> Iterator[str]:
    """Yield the names in braces."""
    for match in _PLACE.finditer(text):
        if match[1] is not None:
            yield match[1]


def filled(text: str, parameters: Mapping[str, Scalar], *, client: bool) -> str | Sh:
    """Return the text with its places filled: plain where all is known, else shell.

    Everything but the variables of the script is quoted: what a user writes stays text.
    """
    pieces: list[tuple[str, bool]] = []  # text, and whether it is the name of a variable
    end = 0
    for match in _PLACE.finditer(text):
        pieces.append((text[end : match.start()], False))
        end = match.end()
        if match[1] is None:
            pieces.append((match[0][0], False))
        elif match[1] in parameters:
            pieces.append((written(parameters[match[1]]), False))
        elif name := variable(match[1], client=client):
            pieces.append((name, True))
        else:
            raise KeyError(match[1])
    pieces.append((text[end:], False))
    if not any(is_name for _, is_name in pieces):
        return "".join(piece for piece, _ in pieces)
    return Sh("".join(_shell(piece, is_name) for piece, is_name in _joined(pieces)))


def written(value: Scalar) -> str:
    """Return a parameter's value as programs read it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _joined(pieces: list[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
    """Yield the pieces with neighbours of plain text put together."""
    plain = ""
    for piece, is_name in pieces:
        if not is_name:
            plain += piece
            continue
        yield plain, False
        yield piece, True
        plain = ""
    yield plain, False


def _shell(piece: str, is_name: bool) -> str:
    if is_name:
        return f'"${{{piece}}}"'
    return shlex.quote(piece) if piece else ""

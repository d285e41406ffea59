"""Prompts from a file of the user's: lines of JSON, or a ShareGPT file. Nothing is downloaded."""

import hashlib
import json
from typing import Any, Dict, List, NamedTuple, Optional

from .target import Usage
from .work import is_measured


class Row(NamedTuple):
    """One prompt, and how long its answer may be, if the file says."""

    prompt: str
    output_tokens: Optional[int] = None


class Rows:
    """The prompts of a file, in its order; a warm-up takes them from the end."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise Usage("--dataset %s: %s" % (path, error.strerror)) from None
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.rows = _sharegpt(path, data) if data[:1] == b"[" else _lines(path, data)
        if not self.rows:
            raise Usage("--dataset %s has no prompts" % path)

    def row(self, phase: str, index: int) -> Row:
        """Return the row of a request; after the last one, they begin again."""
        place = index if is_measured(phase) else -1 - index
        return self.rows[place % len(self.rows)]

    def described(self) -> Dict[str, Any]:
        """Return what the result says of it."""
        return {"path": self.path, "sha256": self.sha256, "rows": len(self.rows)}


def _lines(path: str, data: bytes) -> List[Row]:
    """Read ``{"prompt": ..., "output_tokens": ...}`` from each line."""
    found = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            raise Usage("--dataset %s, line %d is not JSON" % (path, number)) from None
        prompt = value.get("prompt") if isinstance(value, dict) else None
        tokens = value.get("output_tokens") if isinstance(value, dict) else None
        if not isinstance(prompt, str) or not prompt:
            raise Usage('--dataset %s, line %d has no text as "prompt"' % (path, number))
        if tokens is not None and (type(tokens) is not int or tokens < 1):
            message = '--dataset %s, line %d: "output_tokens" is a whole number from 1'
            raise Usage(message % (path, number))
        found.append(Row(prompt, tokens))
    return found


def _sharegpt(path: str, data: bytes) -> List[Row]:
    """Read the first thing that a person says in each conversation."""
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Usage("--dataset %s is not JSON" % path) from None
    found = []
    for talk in value:
        turns = talk.get("conversations") if isinstance(talk, dict) else None
        for turn in turns if isinstance(turns, list) else []:
            said = turn.get("value") if isinstance(turn, dict) else None
            if isinstance(said, str) and said and turn.get("from") in ("human", "user"):
                found.append(Row(said))
                break
    return found

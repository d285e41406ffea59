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
        self.skipped = 0
        text = _text(path, data)
        is_list = text.lstrip()[:1] == "["
        self.rows = self._sharegpt(path, text) if is_list else self._lines(path, text)
        if not self.rows:
            raise Usage("--dataset %s has no prompts" % path)

    def row(self, phase: str, index: int) -> Row:
        """Return the row of a request; after the last one, they begin again."""
        place = index if is_measured(phase) else -1 - index
        return self.rows[place % len(self.rows)]

    def described(self) -> Dict[str, Any]:
        """Return what the result says of it."""
        said: Dict[str, Any] = {"path": self.path, "sha256": self.sha256, "rows": len(self.rows)}
        if self.skipped:
            said["skipped"] = self.skipped
        return said

    def _sharegpt(self, path: str, text: str) -> List[Row]:
        """Read the first thing that a person says in each conversation; skip those without."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise Usage("--dataset %s is not JSON" % path) from None
        said = [_first_words(talk) for talk in value]
        found = [Row(words) for words in said if words]
        self.skipped = len(said) - len(found)
        return found

    def _lines(self, path: str, text: str) -> List[Row]:
        """Read a prompt, or a conversation, from each line."""
        found = []
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                raise Usage("--dataset %s, line %d is not JSON" % (path, number)) from None
            if isinstance(value, dict) and "prompt" not in value and "conversations" in value:
                words = _first_words(value)
                self.skipped += not words
                found += [Row(words)] if words else []
            else:
                found.append(_row(path, number, value))
        return found


def _text(path: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Usage("--dataset %s, line %d is not UTF-8" % (path, line)) from None


def _row(path: str, number: int, value: Any) -> Row:
    """Read ``{"prompt": ..., "output_tokens": ...}``."""
    prompt = value.get("prompt") if isinstance(value, dict) else None
    tokens = value.get("output_tokens") if isinstance(value, dict) else None
    if not isinstance(prompt, str) or not prompt:
        raise Usage('--dataset %s, line %d has no text as "prompt"' % (path, number))
    if tokens is not None and (type(tokens) is not int or tokens < 1):
        message = '--dataset %s, line %d: "output_tokens" is a whole number from 1'
        raise Usage(message % (path, number))
    return Row(prompt, tokens)


def _first_words(talk: Any) -> str:
    """Return what a person says first in a conversation; nothing when nobody does."""
    turns = talk.get("conversations") if isinstance(talk, dict) else None
    for turn in turns if isinstance(turns, list) else []:
        said = turn.get("value") if isinstance(turn, dict) else None
        if isinstance(said, str) and said and turn.get("from") in ("human", "user"):
            return said
    return ""

"""YAML as untrusted text: a bounded reader that knows where every key and value stands.

Only parser events are used; nothing is constructed from tags, and no value can refer to another.
Anchors, aliases, tags, merge keys and duplicate keys are mistakes. A mistake does not end the
reading unless the text cannot be understood any further (syntax) or a limit is passed. What the
models say about the content is turned into sentences by ``benchd.yamlcheck``.

Plain scalars are read as YAML 1.2 does, and more is left as text than there: ``yes``, ``no``,
``on``, ``1_000``, ``12:30:45``, ``007``, ``0x1f`` and ``.inf`` are text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from benchd.errors import DocumentError, Mistake
from benchd.plaintext import UNPRINTABLE, NotText, decode

Path = tuple[str | int, ...]
Mark = tuple[int, int]  # line and column, counting from 1

MAX_BYTES = 256 * 1024  # bytes; the largest sensible recipe is a few KiB
MAX_DEPTH = 16  # nested collections; a recipe needs 5, and parsers recurse on what they are given
MAX_NODES = 1_500  # keys and values; a long recipe has 200, and so many take 6 ms to be refused
MAX_SCALAR = 64 * 1024  # characters of one text; no key of ours needs more than a page
MAX_MISTAKES = 50  # messages; nobody reads more, the rest is counted

# int() of more digits than this does not fit into 64 bits, which is what SQLite and JSON readers
# keep exactly; such a number stays text.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(
    r"[-+]?((0|[1-9][0-9]{0,17})?\.[0-9]{1,17}|(0|[1-9][0-9]{0,17})\.?)([eE][-+]?[0-9]{1,3})?"
)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_SIMPLE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")

_ADVICE = {
    "mapping values are not allowed": "put a text with ': ' in it in quotes; check the indentation",
    "cannot start any token": "tabs cannot indent; put a text that starts with @ ` or % in quotes",
    "did not find expected key": "check indentation and quotes of this line and the one above",
    "could not find expected ':'": "every key needs a colon and a space after it",
    "expected <block end>": "check the indentation",
    "unexpected end of stream": "a quote or bracket is not closed",
}

_LOADER: Any = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # libyaml when present: 20 times faster


def show_path(path: Path) -> str:
    """Write a path as users say it: ``services[0].resources.mem``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _SIMPLE_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{show(part)}]"
    return text


def show(value: object) -> str:
    """Write a value as it can stand in a one-line message: short, no control characters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"


@dataclass(frozen=True, slots=True)
class Document:
    """What was read: plain data, and where each part of it stands.

    ``mistakes`` were found while reading; ``broken`` are the paths whose values are not to be
    judged, because a mistake about them has been noted. ``origins`` names values that come from
    elsewhere than the file, such as ``--set repeat``.
    """

    file: str
    data: Any
    keys: Mapping[Path, Mark]
    values: Mapping[Path, Mark]
    mistakes: tuple[Mistake, ...] = ()
    broken: frozenset[Path] = frozenset()
    origins: Mapping[Path, str] = field(default_factory=dict)

    def key_mark(self, path: Path) -> Mark:
        """Return where the key of this path stands; for a list item, where the item stands."""
        return self.keys.get(path) or self.value_mark(path)

    def value_mark(self, path: Path) -> Mark:
        """Return where the value of this path stands, or the nearest thing around it."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, (1, 1))

    def origin(self, path: Path) -> str | None:
        """Return the name of the source of this value when it is not the file."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        if path in self.keys:
            return None
        inside = (name for place, name in self.origins.items() if place[: len(path)] == path)
        return next(inside, None) if path else None

    def is_broken(self, path: Path) -> bool:
        """Say whether a mistake about this value, or about what it is part of, has been noted."""
        return any(path[:length] in self.broken for length in range(len(path) + 1))

    def mistake(self, path: Path, what: str, *, at_key: bool = False) -> Mistake:
        """Return a mistake at this path."""
        if (origin := self.origin(path)) is not None:
            return Mistake(0, 0, origin, what)
        line, column = self.key_mark(path) if at_key else self.value_mark(path)
        return Mistake(line, column, show_path(path), what)


@dataclass(slots=True)
class _Frame:
    """A collection that is being read."""

    path: Path
    content: Any
    key: str | None = None
    skip: bool = False  # the value of a duplicate key is read and dropped

    @property
    def wants_key(self) -> bool:
        return isinstance(self.content, dict) and self.key is None

    def child(self) -> Path:
        if isinstance(self.content, list):
            return (*self.path, len(self.content))
        return (*self.path, self.key or "")

    def add(self, value: object) -> None:
        if isinstance(self.content, list):
            self.content.append(value)
            return
        if not self.skip:
            self.content[self.key] = value
        self.key, self.skip = None, False


class _Fatal(Exception):
    """Reading cannot go on."""

    def __init__(self, mistake: Mistake) -> None:
        self.mistake = mistake


class _Reader:
    """Turns parser events into data and marks."""

    def __init__(self) -> None:
        self.root: object = None
        self.frames: list[_Frame] = []
        self.keys: dict[Path, Mark] = {}
        self.values: dict[Path, Mark] = {}
        self.mistakes: list[Mistake] = []
        self.broken: set[Path] = set()
        self.nodes = 0
        self.documents = 0

    def feed(self, event: Any) -> None:
        """Take one event."""
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise self.fatal(event, "a second document starts here; one document per file")
        elif isinstance(event, yaml.AliasEvent):
            self.alias(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self.add(self.frames.pop().content)
        elif isinstance(event, yaml.NodeEvent):
            self.node(event)

    def node(self, event: Any) -> None:
        """Take a scalar, or the start of a mapping or list."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self.fatal(event, f"more than {MAX_NODES} keys and values; {self.remedy()}")
        if event.anchor:
            self.note(event, f"anchors are not allowed (&{event.anchor:.40}); write the value out")
        if event.tag:
            self.note(event, f"tags are not allowed ({show(event.tag)}); remove it")
        if isinstance(event, yaml.ScalarEvent):
            self.scalar(event)
            return
        if len(self.frames) >= MAX_DEPTH:
            raise self.fatal(event, f"nested deeper than {MAX_DEPTH} levels")
        path = self.place(event)
        content: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.frames.append(_Frame(path, content))

    def remedy(self) -> str:
        """Return what to do about too many keys and values."""
        if self.frames and self.frames[0].key == "sweep":
            return "write fewer, as each combination in a sweep is a job"
        return "split the file"

    def scalar(self, event: Any) -> None:
        """Take a key or a simple value."""
        if len(event.value) > MAX_SCALAR:
            raise self.fatal(event, f"a text longer than {MAX_SCALAR} characters")
        is_key = bool(self.frames) and self.frames[-1].wants_key
        if is_key:
            self.key(event)
        path = self.frames[-1].child() if is_key else self.place(event)
        found = UNPRINTABLE.search(event.value)  # written as an escape, such as "\\0"
        if found:
            self.note(event, f"control character {found.group()!a}; remove it")
            self.broken.add(path)
        if is_key:
            return
        # Quoted and block scalars are text; libyaml says '' for plain, the other parser None.
        self.add(event.value if event.style else plain(event.value))

    def key(self, event: Any) -> None:
        """Take a key of the mapping that is being read."""
        frame = self.frames[-1]
        frame.key = str(event.value)
        path = frame.child()
        if event.value == "<<" and not event.style:
            self.note(event, "merge keys are not allowed (<<); write the keys out")
            frame.skip = True
        elif event.value == "" and not event.style:
            self.note(event, "a key is missing before the colon")
            frame.skip = True
        elif path in self.keys:
            line = self.keys[path][0]
            what = f"duplicate key; the first one is in line {line}"
            self.mistakes.append(Mistake(*mark(event), show_path(path), what))
            frame.skip = True
        else:
            self.keys[path] = mark(event)

    def alias(self, event: Any) -> None:
        """Refuse a reference, and go on without its value."""
        self.nodes += 1
        if self.frames and self.frames[-1].wants_key:
            raise self.fatal(
                event, f"aliases are not allowed (*{event.anchor:.40}); write the key out"
            )
        self.note(event, f"aliases are not allowed (*{event.anchor:.40}); write the value out")
        self.broken.add(self.place(event))
        self.add(None)

    def place(self, event: Any) -> Path:
        """Note where a value stands, and return its path."""
        if not self.frames:
            self.values.setdefault((), mark(event))
            return ()
        frame = self.frames[-1]
        if frame.wants_key:
            raise self.fatal(event, "a key must be a single word or text, not a list or mapping")
        path = frame.child()
        if not frame.skip:
            self.values.setdefault(path, mark(event))
        return path

    def add(self, value: object) -> None:
        """Put a finished value where it belongs."""
        if self.frames:
            self.frames[-1].add(value)
        else:
            self.root = value

    def path(self) -> str:
        """Return the path of what is being read, for messages."""
        if not self.frames:
            return ""
        frame = self.frames[-1]
        return show_path(frame.path if frame.wants_key else frame.child())

    def note(self, event: Any, what: str) -> None:
        """Note a mistake and go on."""
        self.mistakes.append(Mistake(*mark(event), self.path(), what))

    def fatal(self, event: Any, what: str) -> _Fatal:
        """Return the error that ends the reading."""
        return _Fatal(Mistake(*mark(event), self.path(), what))


def plain(text: str) -> str | int | float | bool | None:
    """Return the value of an unquoted scalar."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def mark(event: Any) -> Mark:
    """Return where an event stands."""
    return event.start_mark.line + 1, event.start_mark.column + 1


def _text(data: bytes) -> str:
    """Return the text, or say why it is none."""
    try:
        return decode(data, MAX_BYTES)
    except NotText as found:
        raise _Fatal(Mistake(found.line, found.column, "", found.what)) from None


def _syntax(error: yaml.YAMLError) -> Mistake:
    """Turn the parser's complaint into a mistake."""
    problem = getattr(error, "problem", None) or "not YAML"
    advice = next((text for key, text in _ADVICE.items() if key in problem), "")
    place = getattr(error, "problem_mark", None)
    line, column = (place.line + 1, place.column + 1) if place else (0, 0)
    return Mistake(line, column, "", f"YAML: {problem}" + (f"; {advice}" if advice else ""))


def _events(text: str) -> Iterator[Any]:
    """Yield the parser's events; its errors leave as ``_Fatal``."""
    try:
        yield from yaml.parse(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise _Fatal(_syntax(error)) from None


def read(data: bytes, file: str, error: type[DocumentError] = DocumentError) -> Document:
    """Read a document and collect its mistakes; raise only when reading cannot go on.

    The caller judges ``Document.mistakes``; ``parse`` is for callers who want none.
    """
    reader = _Reader()
    try:
        for event in _events(_text(data)):
            reader.feed(event)
            if len(reader.mistakes) > MAX_MISTAKES:
                break
    except _Fatal as fatal:
        raise error(file, [*reader.mistakes, fatal.mistake]) from None
    if len(reader.mistakes) > MAX_MISTAKES:
        raise error(file, reader.mistakes)
    return Document(
        file,
        reader.root,
        reader.keys,
        reader.values,
        tuple(reader.mistakes),
        frozenset(reader.broken),
    )


def parse(data: bytes, file: str, error: type[DocumentError] = DocumentError) -> Document:
    """Read a document without mistakes, or raise all of them."""
    document = read(data, file, error)
    if document.mistakes:
        raise error(file, document.mistakes)
    return document

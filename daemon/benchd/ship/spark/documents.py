"""Documents: made from a seed or read, and put together into the bodies of requests."""

import json
import random
from typing import IO, Any, Dict, Iterable, Iterator, List, NamedTuple, Tuple

# Words that documents are made of: enough that no two are alike.
_WORDS = 20_000


class Bad(Exception):
    """A document that cannot be sent."""


class Form(NamedTuple):
    """How documents become the body of a request."""

    into: str  # chroma, http
    format: str = "json"  # json: a list; ndjson: a line for each
    wrap: str = ""  # name under which the list stands in an object


def made(seed: int, dimension: int, words: int, index: int) -> str:
    """Return a document: the same for the same seed and number, wherever it is made."""
    draw = random.Random("%d/%d" % (seed, index)).random  # noqa: S311 - no secrets
    document: Dict[str, Any] = {
        "id": "document-%d" % index,
        "document": " ".join("w%d" % int(draw() * _WORDS) for _ in range(words)),
    }
    if dimension:
        document["embedding"] = [round(2.0 * draw() - 1.0, 6) for _ in range(dimension)]
    return json.dumps(document, separators=(",", ":"))


def checked(form: Form, index: int, line: str) -> str:
    """Return a line that was read, as it will be sent; raise ``Bad``."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise Bad("document %d is no JSON: %s" % (index, error)) from None
    if not isinstance(row, dict):
        raise Bad("document %d is no object: %s" % (index, line[:60]))
    if form.into == "chroma":
        vector = row.get("embedding")
        if not isinstance(vector, list) or not vector:
            raise Bad('document %d has no "embedding": a list of numbers' % index)
        row["id"] = str(row.get("id", index))
    return json.dumps(row, separators=(",", ":"))


def batches(total: int, partitions: int, batch: int) -> int:
    """Return into how many requests the documents of all partitions go."""
    return sum(-(-share(total, partitions, index) // batch) for index in range(partitions))


def share(total: int, partitions: int, index: int) -> int:
    """Return how many documents partition ``index`` has: as equal as whole numbers can be."""
    return total // partitions + int(index < total % partitions)


def write(file: IO[bytes], rows: Iterable[str], form: Form, batch: int) -> int:
    """Write batches as the load generator reads them; return the number of documents."""
    count = 0
    for texts in _groups(rows, batch):
        made = body(texts, form)
        file.write(b"%d %d\n" % (len(texts), len(made)))
        file.write(made)
        count += len(texts)
    return count


def _groups(rows: Iterable[str], size: int) -> Iterator[List[str]]:
    group: List[str] = []
    for row in rows:
        group.append(row)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def body(texts: List[str], form: Form) -> bytes:
    """Return the body of one request."""
    if form.into == "chroma":
        return _columns([json.loads(text) for text in texts])
    if form.format == "ndjson":
        return "".join(text + "\n" for text in texts).encode("utf-8")
    listed = "[%s]" % ",".join(texts)
    if form.wrap:
        listed = "{%s:%s}" % (json.dumps(form.wrap), listed)
    return listed.encode("utf-8")


def _columns(rows: List[Any]) -> bytes:
    """Return what Chroma's ``add`` takes: a list for each field (its API v2)."""
    fields: Tuple[Tuple[str, str], ...] = (("documents", "document"), ("metadatas", "metadata"))
    value = {"ids": [row["id"] for row in rows], "embeddings": [row["embedding"] for row in rows]}
    for name, key in fields:
        if any(row.get(key) is not None for row in rows):
            value[name] = [row.get(key) for row in rows]
    return json.dumps(value, separators=(",", ":")).encode("utf-8")

"""The bounded YAML reader: what it takes, what it refuses, and where it says mistakes are."""

from __future__ import annotations

import gzip
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd import yamldoc
from benchd.errors import DocumentError, RecipeError


def mistakes(text: str | bytes) -> list[str]:
    """Return the messages about a text, one per mistake."""
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(DocumentError) as caught:
        yamldoc.parse(data, "web.yaml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("on", "on"),
        ("0", 0),
        ("-12", -12),
        ("+3", 3),
        ("007", "007"),
        ("1_000", "1_000"),
        ("0x1f", "0x1f"),
        ("0o17", "0o17"),
        ("12:30:45", "12:30:45"),
        ("2026-01-31", "2026-01-31"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("e5", "e5"),
        (".", "."),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("123456789012345678", 123456789012345678),
        ("1234567890123456789", "1234567890123456789"),
        ('"5"', "5"),
        ("'true'", "true"),
        ("grün", "grün"),
    ],
)
def test_scalars_are_read_as_their_unquoted_form_says(text: str, expected: object) -> None:
    """Only what looks like JSON's values is typed; everything else, and all quoted, is text."""
    found = yamldoc.parse(f"key: {text}\n".encode(), "web.yaml").data

    assert {"key": expected} == found
    assert type(expected) is type(found["key"])


def test_marks_point_at_keys_and_values() -> None:
    """Every key and every value has its line and column, counting from 1."""
    document = yamldoc.parse(
        b"# recipe\nservice:\n  name: web\n  ports: [80,\n    443]\n", "a.yaml"
    )
    keys = {("service",): (2, 1), ("service", "name"): (3, 3), ("service", "ports", 1): (5, 5)}
    values = {("service",): (3, 3), ("service", "name"): (3, 9), ("service", "absent"): (3, 3)}

    assert keys == {path: document.key_mark(path) for path in keys}
    assert values == {path: document.value_mark(path) for path in values}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x 1\n", "1:4: a: anchors are not allowed (&x); write the value out"),
        (
            "a: !!python/object:x [id]\n",
            "1:4: a: tags are not allowed ('tag:yaml.org,2002:python/object:x'); remove it",
        ),
        ("a: ! b\n", "1:4: a: tags are not allowed ('!'); remove it"),
        ("a: 1\nb: 2\na: 3\n", "3:1: a: duplicate key; the first one is in line 1"),
        ("x:\n  ?\n  : 1\n", "2:4: x['']: a key is missing before the colon"),
        ("a: 1\n---\nb: 2\n", "2:1: a second document starts here; one document per file"),
        ("{a: b}: c\n", "1:1: a key must be a single word or text, not a list or mapping"),
        ("a: 1\nb: \x00\n", "2:4: control character '\\x00'; this is not a plain text file"),
        ('a: "x\\0"\n', "1:4: a: control character '\\x00'; remove it"),
        (b"a: 1\nbc: \xff", "2:5: byte 0xff is not UTF-8; save the file as UTF-8 text"),
        ("a: [1 2\n", "2:1: YAML: did not find expected ',' or ']'"),
    ],
)
def test_forbidden_parts_are_refused_where_they_stand(text: str | bytes, expected: str) -> None:
    """What YAML allows and recipes do not is named with its line, column and path."""
    assert [f"web.yaml:{expected}"] == mistakes(text)


def test_every_mistake_before_a_syntax_error_is_reported() -> None:
    """Reading goes on after a mistake and ends at the first text it cannot understand."""
    text = "a: &x 1\na: *x\n<<: {b: 2}\nc: 'open\n"

    expected = [
        "web.yaml:1:4: a: anchors are not allowed (&x); write the value out",
        "web.yaml:2:1: a: duplicate key; the first one is in line 1",
        "web.yaml:2:4: a: aliases are not allowed (*x); write the value out",
        "web.yaml:3:1: ['<<']: merge keys are not allowed (<<); write the keys out",
        "web.yaml:5:1: YAML: found unexpected end of stream; a quote or bracket is not closed",
    ]
    assert expected == mistakes(text)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a: " + b"x" * yamldoc.MAX_BYTES, "262147 bytes; at most 256 KiB are read"),
        (b"[" * 100_000, "nested deeper than 16 levels"),
        (b"- " * 100_000, "nested deeper than 16 levels"),
        (b"a: " + b"1" * 200_000, "a text longer than 65536 characters"),
        (b"[" + b"1," * 1_501 + b"]", "more than 1500 keys and values; split the file"),
        (
            b"sweep: {a: [" + b"1," * 1_501 + b"]}",
            "more than 1500 keys and values; write fewer, as each combination in a sweep is a job",
        ),
    ],
)
def test_limits_end_the_reading(data: bytes, expected: str) -> None:
    """A text that is too large, too deep or too rich is refused with the limit it passes."""
    assert expected == mistakes(data)[-1].rpartition(": ")[2]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "this is not text (it looks like a PNG image)"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "this is not text (it looks like a JPEG image)"),
        (b"GIF89a\x01\0\x01\0", "this is not text (it looks like a GIF image)"),
        (gzip.compress(b"service: {name: redis}"), "this is not text (it looks like a gzip file)"),
        (
            b"\x7fELF\x02\x01\x01" + bytes(2 * yamldoc.MAX_BYTES),
            "this is not text (it looks like an ELF program, or an image of one)",
        ),
        (
            b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\x0001\0",
            "this is not text (it looks like a container image)",
        ),
        (b"recipe.yaml".ljust(512, b"\0"), "this is not text"),
        (b"a: \xc3\x28\x01\xff" * 20, "this is not text"),
    ],
    ids=["png", "jpeg", "gif", "gzip", "elf", "sif", "tar", "other"],
)
def test_what_is_no_text_is_called_what_it_is(data: bytes, expected: str) -> None:
    """A picture or an archive is refused in one sentence, not by its first odd byte."""
    assert [f"web.yaml: {expected}"] == mistakes(data)


def test_a_text_may_begin_like_the_name_of_a_format() -> None:
    """Letters that open a picture or an archive also open words."""
    expected = {"GIF87a": 1, "BZh": 2}
    assert expected == yamldoc.parse(b"GIF87a: 1\nBZh: 2\n", "web.yaml").data


def test_references_cannot_multiply_values() -> None:
    """A billion laughs is a list of messages, one per anchor and alias."""
    lines = [b"a0: &a0 [x, x]"]
    lines += [b"a%d: &a%d [*a%d, *a%d]" % (n, n, n - 1, n - 1) for n in range(1, 10)]

    references = b"\n".join(lines)
    assert references.count(b"&") + references.count(b"*") == len(mistakes(references))


def test_a_flood_of_mistakes_is_cut() -> None:
    """Reading stops soon after nobody would read on."""
    text = "".join("a: 1\n" for _ in range(5000))

    first_left_out = yamldoc.MAX_MISTAKES + 1
    assert first_left_out == len(mistakes(text))


def test_an_error_class_of_the_caller_is_raised() -> None:
    """The caller names the error, so that a recipe's mistakes are a RecipeError."""
    with pytest.raises(RecipeError):
        yamldoc.parse(b"a: 1\na: 2\n", "web.yaml", RecipeError)


def test_a_byte_order_mark_is_no_mistake() -> None:
    """Files saved by Windows editors read like all others."""
    with_mark, without = (
        yamldoc.parse(start + b"a: 1\n", "web.yaml") for start in (b"\xef\xbb\xbf", b"")
    )
    assert without.data == with_mark.data


@given(st.one_of(st.binary(max_size=400), st.text(max_size=200).map(str.encode)))
def test_only_document_errors_leave_the_reader(data: bytes) -> None:
    """Whatever the bytes are, they are data or a DocumentError with printable lines."""
    try:
        message = json.dumps(yamldoc.parse(data, "web.yaml").data, allow_nan=False)
    except DocumentError as error:
        message = str(error)
    assert all(line.isprintable() for line in message.split("\n"))


_PIECES = ["&x", "*x", "<<", "!t", "? ", "  ", "%YAML 1.2", "---", "...", ".5", "e5"]
_fragments = st.lists(st.sampled_from([*_PIECES, *"ab1~:-,|>#[]{} \t\n\"'"]), max_size=60).map(
    "".join
)


@given(_fragments)
def test_only_document_errors_leave_the_reader_for_almost_yaml(text: str) -> None:
    """Text made of YAML's own pieces is data or a DocumentError, and marks fit the data."""
    try:
        document = yamldoc.parse(text.encode(), "web.yaml")
    except DocumentError:
        return
    for path, (line, column) in document.values.items():
        value: Any = document.data
        for part in path:
            value = value[part]
        assert line >= 1
        assert column >= 1


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abcxyz_-", min_size=1, max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(_values)
def test_json_reads_as_json(value: object) -> None:
    """JSON is YAML: what json writes is read back as the same data."""
    data = json.dumps(value, ensure_ascii=True).encode()
    try:
        found = yamldoc.parse(data, "web.json").data
    except DocumentError:
        assert "\\u" in data.decode()  # an escaped character that must not come in
        return
    assert _numbers_close(value, found)


def _numbers_close(left: object, right: object) -> bool:
    if isinstance(left, float) and isinstance(right, int | float | str):
        return math.isclose(left, float(right), rel_tol=1e-12)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_numbers_close, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            _numbers_close(left[key], right[key]) for key in left
        )
    return left == right

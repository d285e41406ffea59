"""Texts that kill YAML readers: what benchd does about them, counted rather than timed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchd import yamldoc
from benchd.catalog import CATALOG
from benchd.core.recipe import parse
from benchd.errors import RecipeError
from support.bombs import BOMBS


class Counted:
    """The parser's events, counted as they are asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events = 0
        self._real = yamldoc._events
        monkeypatch.setattr(yamldoc, "_events", self._counted)

    def _counted(self, text: str) -> Iterator[Any]:
        for event in self._real(text):
            self.events += 1
            yield event


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_after_a_bounded_number_of_steps(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No text makes the reader take more steps than a recipe of the largest size may have parts."""
    counted = Counted(monkeypatch)
    with pytest.raises(RecipeError) as caught:
        parse(BOMBS[name], "bomb.yaml", CATALOG)
    # a collection has an end as well, and a document and a stream each have two
    assert counted.events <= 2 * yamldoc.MAX_NODES + 4
    assert len(caught.value.mistakes) <= yamldoc.MAX_MISTAKES + 1
    assert len(str(caught.value)) < 64 * 1024


def test_what_is_too_large_is_not_even_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text above the limit of size costs nothing, however it goes on."""
    counted = Counted(monkeypatch)
    with pytest.raises(RecipeError, match="at most 256 KiB are read"):
        parse(b"a: " + b"[" * yamldoc.MAX_BYTES, "bomb.yaml", CATALOG)
    assert counted.events == 0


def test_the_longest_recipe_anybody_writes_is_read() -> None:
    """A hundred services with all they may say are within the limits."""
    part = "- {{name: s{0}, kind: redis, ports: [auto], resources: {{mem: 4G, time: '1'}}}}\n"
    text = "services:\n" + "".join(part.format(number) for number in range(100))
    assert len(parse(text.encode(), "web.yaml", CATALOG).services) == 100


_WORDS = """service client services name kind redis parameters resources sweep repeat secrets
generate environment container limits health_check cluster target_service mem 4G auto ports"""
RECIPE_WORDS = st.sampled_from(_WORDS.split())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | RECIPE_WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(RECIPE_WORDS, inner, max_size=5),
    max_leaves=25,
)


def refused_or_read(data: bytes) -> None:
    """Parse; anything but a recipe or a RecipeError is the failure of the test."""
    try:
        parse(data, "web.yaml", CATALOG)
    except RecipeError as error:
        said = str(error)
    else:
        said = "web.yaml"
    assert said.isprintable() or "\n" in said


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200))
def test_only_recipe_errors_leave_the_reader_of_recipes(data: bytes) -> None:
    """Whatever the bytes are, they are a recipe or a list of mistakes."""
    refused_or_read(data)


@settings(max_examples=300, deadline=None)
@given(value=VALUES)
def test_only_recipe_errors_leave_it_for_almost_recipes(value: object) -> None:
    """Recipes with anything in any place are recipes or lists of mistakes."""
    refused_or_read(repr(value).replace("None", "null").encode("utf-8", "backslashreplace"))
